/**
 * The black box (native/black-box.h): a file, or memory of a device that the emulator keeps in a
 * file, which still holds the calls of a test whose worker or kernel died in it.
 */
import { decodeBlock } from './block.ts';
import { callWithBuffer, check } from './library.ts';
import type { RecordedRun } from './recorded-run.ts';

/** native/black-box.h: struct vc_black_box, struct vc_box_entry. */
const BOX_MAGIC = 0x31584256;
const BOX_SIZE = 32;
const ENTRY_SIZE = 16;

let isOpen = false;

/**
 * From now on every block that this process executes lies in the box too.
 * @param path of a file of at least `size` bytes that can be mapped shared
 * @throws KernelError if it cannot be opened or mapped
 */
export function openBlackBox(path: string, size: number): void {
  check(callWithBuffer('vc_black_box_open', Buffer.from(`${path}\0`), size), `black box ${path}`);
  isOpen = true;
}

/** Empties the box, if there is one: a new test begins. */
export function beginBlackBox(): void {
  if (isOpen) callWithBuffer('vc_black_box_begin', Buffer.alloc(1), 0);
}

/** What a box held when its writer died: the calls of this process, its threads and its actors, in their order. */
export function readBlackBox(box: Buffer): RecordedRun[] {
  if (box.length < BOX_SIZE || box.readUInt32LE(0) !== BOX_MAGIC) return [];
  const used = Math.min(Number(box.readBigUInt64LE(8)), box.length);
  const runs: RecordedRun[] = [];
  for (let at = BOX_SIZE; at + ENTRY_SIZE <= used;) {
    const arenaSize = box.readUInt32LE(at + 8);
    const blockSize = box.readUInt32LE(at + 12);
    const block = at + ENTRY_SIZE + arenaSize;
    if (block + blockSize > used) break;
    const run = {
      run: box.readUInt32LE(at),
      where: placeName(box.readInt32LE(at + 4)),
      block: box.subarray(block, block + blockSize),
      arenaBefore: box.subarray(at + ENTRY_SIZE, block),
    };
    if (isWhole(run)) runs.push(run);
    at = block + blockSize;
  }
  return runs;
}

function placeName(thread: number): string {
  if (thread === -1) return 'here';
  return thread < 0 ? `process ${-thread}` : `thread ${thread}`;
}

/** A machine that dies may leave half of a copy behind. */
function isWhole({ block }: RecordedRun): boolean {
  try {
    decodeBlock(block);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
