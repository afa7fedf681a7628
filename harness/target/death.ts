import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { commandPath } from '../../setup/shell.mjs';

const running = new Set<ChildProcess>();
let watching = false;

/**
 * Starts a process that dies with this one, however this one ends: by a signal from the kernel
 * (also after SIGKILL) and by a handler on exit. Ctrl-C does not reach it by itself: it leads a
 * process group of its own, and the supervisor alone decides when it ends.
 */
export function spawnDependent(command: string, args: string[], stdio: StdioOptions): ChildProcess {
  const setpriv = commandPath('setpriv');
  const child = setpriv
    ? spawn(setpriv, ['--pdeathsig', 'KILL', command, ...args], { stdio, detached: true })
    : spawn(command, args, { stdio, detached: true });
  running.add(child);
  child.on('error', () => running.delete(child));
  child.on('close', () => running.delete(child));
  if (!watching) {
    watching = true;
    // First of all: whoever puts devices back at the exit waits for those that have them open.
    process.prependListener('exit', () => {
      for (const one of running) one.kill('SIGKILL');
    });
  }
  return child;
}
