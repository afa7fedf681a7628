import { spawnSync } from 'node:child_process';
import { referencePath } from '../shim/index.ts';

/** The same operation as a C program does it: native/reference.c. */
export interface Reference {
  /** The operation of the benchmark that it is compared with; left out if there is one only. */
  operation?: string;
  /** Arguments of the program: what to measure. */
  args: readonly (string | number)[];
  /** Descriptors that it gets, from 3 on. */
  fds: readonly number[];
}

/**
 * Runs the C program; nanoseconds.
 * @throws Error with what it says
 */
export function runReference({ args, fds }: Reference, count: number): number[] {
  const { status, stdout, stderr, error } = spawnSync(
    referencePath(),
    [String(count), ...args.map(String)],
    { stdio: ['ignore', 'pipe', 'pipe', ...fds], encoding: 'utf8' },
  );
  if (error) throw error;
  if (status !== 0) throw new Error(`the C program for comparison failed: ${stderr.trim()}`);
  return stdout.trim().split('\n').map(Number);
}
