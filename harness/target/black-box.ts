import { execFile } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { workerBundle } from '../../setup/paths.mjs';
import type { LastCalls } from '../protocol/events.ts';
import type { SessionEnd } from './target.ts';

/** What a test's calls and their data take, with room to spare; a power of two, as a PCI BAR must be. */
export const BLACK_BOX_SIZE = 8 * 1024 * 1024;
/** A reproducer of thousands of calls is long. */
const MAX_OUTPUT = 256 * 1024 * 1024;

/** An empty box. Its room on the disk is taken now: its writer could not survive that there is none. */
export function createBlackBox(file: string): void {
  writeFileSync(file, Buffer.alloc(BLACK_BOX_SIZE));
}

/**
 * The calls in a box whose writer is dead. A process of its own decodes them, as the supervising side
 * knows nothing of calls; what cannot be decoded costs the calls, not the run.
 * @param title of the C program
 */
export async function readLastCalls(file: string, title: string): Promise<LastCalls> {
  try {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [workerBundle, '--black-box', file, title],
      { maxBuffer: MAX_OUTPUT },
    );
    return JSON.parse(stdout) as LastCalls;
  } catch (error) {
    return { calls: [`(the last calls cannot be read: ${(error as Error).message})`] };
  }
}

/** Removes a box that nobody will ask: its writer ended well. */
export function removeNeedlessBlackBox(file: string, { kind }: SessionEnd): void {
  if (kind === 'clean') rmSync(file, { force: true });
}
