import { alignUp } from './arena.ts';
import { callWithBuffer, check } from './library.ts';
import { afterRun, beforeRun } from './observer.ts';
import type { Program } from './program.ts';

/** native/parallel.h: struct vc_bundle and struct vc_bundle_entry. */
const BUNDLE_SIZE = 8;
const ENTRY_SIZE = 16;

/**
 * Executes several programs at once, in one thread each. They begin together once all threads
 * exist; the call returns when all have ended. Recorded as 'thread 0', 'thread 1', ...
 */
export function runParallel(programs: readonly Program[]): void {
  const before = programs.map((program) => beforeRun(program));
  let size = alignUp(BUNDLE_SIZE + programs.length * ENTRY_SIZE);
  const offsets = programs.map((program) => {
    const offset = size;
    size = alignUp(size + program.blockSize);
    return offset;
  });

  const bundle = Buffer.alloc(size);
  bundle.writeUInt32LE(programs.length, 0);
  programs.forEach((program, i) => {
    const offset = offsets[i] as number;
    bundle.writeUInt32LE(offset, BUNDLE_SIZE + i * ENTRY_SIZE);
    bundle.writeUInt32LE(program.blockSize, BUNDLE_SIZE + i * ENTRY_SIZE + 4);
    program.writeBlock(bundle, offset);
  });
  check(callWithBuffer('vc_run_parallel', bundle, size), 'vc_run_parallel');

  programs.forEach((program, i) => {
    check(bundle.readInt32LE(BUNDLE_SIZE + i * ENTRY_SIZE + 8), `thread ${i}`);
    program.readBlock(bundle, offsets[i] as number);
    afterRun(program, `thread ${i}`, before[i] ?? null);
  });
}
