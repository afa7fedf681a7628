import { tryRun } from '../../../setup/shell.mjs';
import type { Attempt } from './verdict.ts';

/** Runs the program on this machine, whose devices must be bound already. */
export async function attemptHere(program: string): Promise<Attempt> {
  const before = await kernelLog();
  const { status, stdout, stderr } = await tryRun(program, []);
  return {
    status,
    panic: undefined,
    output: stdout + stderr,
    kernelLog: newLines(before, await kernelLog()),
  };
}

/** What a log that may have lost its oldest lines has got since. */
export function newLines(before: readonly string[], after: readonly string[]): string[] {
  const last = before.at(-1);
  return last === undefined ? [...after] : after.slice(after.lastIndexOf(last) + 1);
}

/** Empty without the right to read it. */
async function kernelLog(): Promise<string[]> {
  const { stdout } = await tryRun('dmesg', []);
  return stdout.split('\n').filter((line) => line !== '');
}
