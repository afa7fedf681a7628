import { Data } from './arguments.ts';

/** Every area begins at a multiple of this, as malloc() would have it. */
const ALIGNMENT = 16;
/** References to the arena carry offsets in 32 bits. */
const LIMIT = 0x7fff0000;

/** A piece of the arena. Pieces never move, so that views onto them stay alive. */
interface Chunk {
  memory: ArrayBuffer;
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

/** The data of a program: it grows, and what is in it never moves. */
export class Arena {
  #chunks: Chunk[];
  /** It may hold bytes of an earlier use. */
  #reused = false;

  /** @param memory whose bytes from `position` on are the arena, until it outgrows them */
  constructor(memory: ArrayBuffer, position: number, size: number) {
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
    return this.#chunks.length === 1 && this.#last.memory === memory;
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
      new Uint8Array(chunk.memory, position, length).set(init);
    } else if (this.#reused) {
      new Uint8Array(chunk.memory, position, length).fill(0);
    }
    return new Data(program, chunk.base + start, length, chunk.memory, position);
  }

  #grow(length: number): Chunk {
    const last = this.#last;
    const size = alignUp(Math.max(length, 2 * last.size));
    const base = alignUp(last.base + last.used);
    if (base + size > LIMIT) throw new RangeError('arena beyond 2 GiB');
    const chunk: Chunk = { memory: new ArrayBuffer(size), position: 0, size, used: 0, base };
    this.#chunks.push(chunk);
    return chunk;
  }

  /** Copies all of it to `position` of the target. */
  writeTo(target: Uint8Array, position: number): void {
    for (const { memory, position: from, used, base } of this.#chunks) {
      target.set(new Uint8Array(memory, from, used), position + base);
    }
  }

  /** Takes over what stands at `position` of the source. */
  readFrom(source: Uint8Array, position: number): void {
    for (const { memory, position: to, used, base } of this.#chunks) {
      const from = position + base;
      new Uint8Array(memory, to, used).set(source.subarray(from, from + used));
    }
  }

  /** A live view of `length` bytes at `offset` (they must lie within one area). */
  view(offset: number, length: number): Buffer {
    for (const { memory, position, used, base } of this.#chunks) {
      if (offset >= base && offset + length <= base + used) {
        return Buffer.from(memory, position + offset - base, length);
      }
    }
    throw new RangeError(`no ${length} bytes at ${offset} of the arena`);
  }
}
