import { spawnSync } from 'node:child_process';
import { lstatSync, readdirSync } from 'node:fs';
import { referencePath } from '../shim/index.ts';

/** The same operation as a C program does it: native/reference.c. */
export interface Reference {
  /** The operation of the benchmark that it is compared with; left out if there is one only. */
  operation?: string;
  /** Arguments of the program: what to measure. */
  args: readonly (string | number)[];
  /** Descriptors that it gets, from 3 on; or with the numbers that they have here. */
  fds: readonly number[] | 'same';
  /** What it reads. */
  input?: Buffer;
}

/**
 * Runs the C program; nanoseconds.
 * @throws Error with what it says
 */
export function runReference({ args, fds, input }: Reference, count: number): number[] {
  const { status, stdout, stderr, error } = spawnSync(
    referencePath(),
    [String(count), ...args.map(String)],
    {
      stdio: ['pipe', 'pipe', 'pipe', ...(fds === 'same' ? allFiles() : fds)],
      encoding: 'utf8',
      ...(input && { input }),
    },
  );
  if (error) throw error;
  if (status !== 0) throw new Error(`the C program for comparison failed: ${stderr.trim()}`);
  return stdout.trim().split('\n').map(Number);
}

/** Every file of this process from 3 on, in its place. */
function allFiles(): (number | 'ignore')[] {
  const open = readdirSync('/proc/self/fd').map(Number).filter(isOpen);
  return Array.from({ length: Math.max(...open) - 2 }, (_, index) =>
    open.includes(index + 3) ? index + 3 : 'ignore',
  );
}

/** The directory that was listed is in the list, and closed. */
function isOpen(fd: number): boolean {
  return lstatSync(`/proc/self/fd/${fd}`, { throwIfNoEntry: false }) !== undefined;
}
