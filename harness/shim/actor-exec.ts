import { readFileSync } from 'node:fs';
import { AT_FDCWD } from '../abi/libc.ts';
import type { Actor } from './actor.ts';
import { Program } from './program.ts';
import { sys } from './sys.ts';

const TIMEOUT_MS = 20_000;
/** native/actor.h: struct vc_actor_reply, all zero for a run that went well. */
const REPLY_SIZE = 8;

function commandLine(pid: number): string[] {
  return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
}

/**
 * Lets an actor execve() itself: the same process with the same fds and rights, but with a new
 * address space. It goes on executing programs.
 */
export function execAgain(actor: Actor): void {
  const [name = '', ...channels] = commandLine(actor.pid);
  const renamed = `${name}+`;
  const program = new Program();
  const strings = [renamed, ...channels].map((text) => program.data(text));
  const argv = program.data(8 * (strings.length + 1));
  strings.forEach((text, index) => program.store(64, argv.at(8 * index), text));
  // Nobody is left after execve() to report that this program has ended.
  program.syscall('write', Number(channels[2]), program.data(REPLY_SIZE), REPLY_SIZE);
  program.syscall(
    'execveat',
    AT_FDCWD,
    program.data('/proc/self/exe'),
    argv,
    argv.at(8 * strings.length),
    0,
  );
  actor.run(program);
  for (let waited = 0; commandLine(actor.pid)[0] !== renamed; waited += 5) {
    if (waited > TIMEOUT_MS) throw new Error(`process ${actor.pid} did not execute itself`);
    sys.poll([], 5);
  }
}
