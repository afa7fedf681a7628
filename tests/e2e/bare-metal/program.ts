import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { PLAN_FOLDER } from '../../../harness/target/local/plan-store.ts';
import { WORKER } from './outcome.ts';

/** Looking costs the emulated machine time that it needs for the command. */
const LOOK_EVERY_MS = 100;

/** A running command. */
export interface Running {
  child: ChildProcess;
  finished: Promise<{ code: number | null; output: string }>;
}

/** Starts a command in the project's folder. */
export function start(command: string, args: string[], env: NodeJS.ProcessEnv = {}): Running {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  return {
    child,
    finished: new Promise((resolve) => child.on('close', (code) => resolve({ code, output }))),
  };
}

/**
 * Starts the program as it is bundled, with the tests of `suites/`: what `bin/` adds in front of it
 * costs half a minute here.
 */
export function startProgram(...args: string[]): Running {
  const flags = ['--v8-pool-size=0', 'dist/cli.mjs'];
  return start(process.execPath, [...flags, ...args], { VFIO_CONFORMANCE_WORKER: WORKER });
}

/** Whether a run has taken devices and not given them back. */
export function planExists(): boolean {
  try {
    return readdirSync(PLAN_FOLDER).some((name) => name.endsWith('.json'));
  } catch {
    return false;
  }
}

/** Waits until the condition holds or the command has ended; whether the condition holds. */
export async function until(condition: () => boolean, running: Running): Promise<boolean> {
  while (running.child.exitCode === null && running.child.signalCode === null) {
    if (condition()) return true;
    await sleep(LOOK_EVERY_MS);
  }
  return condition();
}
