import { Data, type Memory } from './arguments.ts';

/** Every area begins at a multiple of this, as malloc() would have it. */
const ALIGNMENT = 16;
/** References to the arena carry offsets in 32 bits. */
const LIMIT = 0x7fff0000;

/** A piece of the arena. Pieces never move, so that views onto them stay alive. */
interface Chunk {
  memory: Memory;
  /** Where the chunk begins in `memory`. */
  position: number;
  size: number;
  used: number;
  /** Where the chunk begins in the arena. */
  base: number;
}

export function alignUp(value: number): number {
  return (value + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

/** @param size a multiple of {@link ALIGNMENT} */
export function memoryOf(size: number): Memory {
  const words = new Int32Array(size / 4);
  return { words, bytes: new Uint8Array(words.buffer) };
}

/** Most areas are smaller than what calling fill() costs. */
function clear(words: Int32Array, from: number, to: number): void {
  if (to - from > 64) words.fill(0, from, to);
  else for (let word = from; word < to; word++) words[word] = 0;
}

/** The data of a program: it grows, and what is in it never moves. */
export class Arena {
  #chunks: Chunk[];
  /** It may hold bytes of an earlier use. */
  #reused = false;

  /** @param memory whose bytes from `position` on are the arena, until it outgrows them */
  constructor(memory: Memory, position: number, size: number) {
    this.#chunks = [{ memory, position, size, used: 0, base: 0 }];
  }

  get #last(): Chunk {
    return this.#chunks[this.#chunks.length - 1] as Chunk;
  }

  /** In bytes. */
  get size(): number {
    return this.#last.base + this.#last.used;
  }

  /** Whether all of it lies in this memory, from the place on that it was given. */
  isWithin(memory: ArrayBuffer): boolean {
    return this.#chunks.length === 1 && this.#last.memory.bytes.buffer === memory;
  }

  /** Empties the arena and keeps its memory. */
  clear(): void {
    this.#reused = true;
    // The last chunk is the largest.
    const chunk = this.#last;
    chunk.used = 0;
    chunk.base = 0;
    this.#chunks = [chunk];
  }

  /** An area of `program`, aligned: see Program.data(). */
  allocate(program: object, init: number | Uint8Array): Data {
    const length = typeof init === 'number' ? init : init.byteLength;
    let chunk = this.#last;
    if (chunk.used + length > chunk.size) chunk = this.#grow(length);
    const start = chunk.used;
    const position = chunk.position + start;
    chunk.used = Math.min(alignUp(start + length), chunk.size);
    if (typeof init !== 'number') {
      chunk.memory.bytes.set(init, position);
    } else if (this.#reused) {
      clear(chunk.memory.words, position >> 2, (position + length + 3) >> 2);
    }
    return new Data(program, chunk.base + start, length, chunk.memory, position);
  }

  #grow(length: number): Chunk {
    const last = this.#last;
    const size = alignUp(Math.max(length, 2 * last.size));
    const base = alignUp(last.base + last.used);
    if (base + size > LIMIT) throw new RangeError('arena beyond 2 GiB');
    const chunk: Chunk = { memory: memoryOf(size), position: 0, size, used: 0, base };
    this.#chunks.push(chunk);
    return chunk;
  }

  /** Copies all of it to `position` of the target. */
  writeTo(target: Uint8Array, position: number): void {
    for (const { memory, position: from, used, base } of this.#chunks) {
      target.set(memory.bytes.subarray(from, from + used), position + base);
    }
  }

  /** Takes over what stands at `position` of the source. */
  readFrom(source: Uint8Array, position: number): void {
    for (const { memory, position: to, used, base } of this.#chunks) {
      const from = position + base;
      memory.bytes.set(source.subarray(from, from + used), to);
    }
  }

  /** The u64 at `offset`, a multiple of 4: exact up to 2^53. */
  u64(offset: number): number {
    let index = this.#chunks.length - 1;
    while (this.#chunks[index]!.base > offset) index--;
    const chunk = this.#chunks[index]!;
    const word = (chunk.position + offset - chunk.base) >> 2;
    const { words } = chunk.memory;
    return (words[word + 1]! >>> 0) * 0x100000000 + (words[word]! >>> 0);
  }

  /** A live view of `length` bytes at `offset` (they must lie within one area). */
  view(offset: number, length: number): Buffer {
    for (const { memory, position, used, base } of this.#chunks) {
      if (offset >= base && offset + length <= base + used) {
        return Buffer.from(memory.bytes.buffer, position + offset - base, length);
      }
    }
    throw new RangeError(`no ${length} bytes at ${offset} of the arena`);
  }
}
