import { Data, Pointer, Ref } from './arguments.ts';
import type { Arg } from './arguments.ts';
import {
  BLOCK_MAGIC,
  FLAG_NO_END,
  FLAG_NO_START,
  FLAG_STOP,
  HEADER,
  HEADER_SIZE,
  KIND_ARENA,
  KIND_REFERENCE,
  MAX_OPS,
  OP,
  OP_KINDS_32,
  OP_SIZE,
  decodeOp,
} from './block.ts';
import type { DecodedOp } from './block.ts';
import { callWithBuffer, check } from './library.ts';
import { afterRun, beforeRun } from './observer.ts';
import { OPCODE } from './opcodes.ts';
import type { OpName, SyscallName } from './opcodes.ts';

/** Every area in the arena begins at a multiple of this, as malloc() would have it. */
const ALIGNMENT = 16;
const INITIAL_OPS = 16;
const INITIAL_ARENA = 2048;
const U64_LIMIT = 1n << 64n;
const S64_LOWEST = -(1n << 63n);

const OP_WORDS_32 = OP_SIZE / 4;
const OP_WORDS_64 = OP_SIZE / 8;
const HEADER_WORDS_32 = HEADER_SIZE / 4;
const HEADER_WORDS_64 = HEADER_SIZE / 8;

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

/** Bytes of one sample: struct vc_sample of native/program.h. */
export const SAMPLE_SIZE = 16;

export type Width = 8 | 16 | 32 | 64;

function alignUp(value: number): number {
  return (value + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

/** Where programs are put together that do not lie in one piece. Grows as needed. */
let scratch = new Uint8Array(0);

/**
 * A sequence of operations which is executed in C with one call: system calls, guarded memory
 * accesses, loops, forks. Arguments may refer to results of earlier operations.
 *
 * A program may be run more than once; each run executes all of it again.
 */
export class Program {
  /** Header and records; usually the first chunk of the arena lies behind them. */
  #memory: ArrayBuffer;
  #words: Int32Array;
  #quads: BigUint64Array;
  #bytes: Uint8Array;
  #capacity: number;
  #count = 0;
  #chunks: Chunk[];
  /** The block lies in one piece in #memory and can be executed where it is. */
  #contiguous = true;
  /** The arena may hold bytes of an earlier use. */
  #reused = false;
  #flags = 0;

  /**
   * @param reserve how much to have ready from the beginning; it grows beyond as needed
   */
  constructor(reserve: { ops?: number; arena?: number } = {}) {
    this.#capacity = reserve.ops ?? INITIAL_OPS;
    const arena = alignUp(reserve.arena ?? INITIAL_ARENA);
    const position = HEADER_SIZE + this.#capacity * OP_SIZE;
    this.#memory = new ArrayBuffer(position + arena);
    this.#words = new Int32Array(this.#memory);
    this.#quads = new BigUint64Array(this.#memory);
    this.#bytes = new Uint8Array(this.#memory);
    this.#chunks = [{ memory: this.#memory, position, size: arena, used: 0, base: 0 }];
  }

  /** Number of operations. */
  get length(): number {
    return this.#count;
  }

  /** The operation added last. @throws RangeError if there is none */
  get lastOperation(): Ref {
    if (this.#count === 0) throw new RangeError('the program is empty');
    return new Ref(this, this.#count - 1);
  }

  /** Empties the program and keeps its memory. Refs and Data of before must not be used again. */
  reset(): this {
    this.#count = 0;
    this.#flags = 0;
    this.#reused = true;
    // The last chunk is the largest; only the first can be contiguous with the records.
    const chunk = this.#contiguous ? this.#chunks[0] : this.#chunks.at(-1);
    if (chunk !== undefined) {
      chunk.used = 0;
      chunk.base = 0;
      this.#chunks = [chunk];
    }
    return this;
  }

  // --- data -----------------------------------------------------------------------------------

  /**
   * An area in the arena, aligned to 16 bytes.
   * @param init the size in bytes (zeroed), the content, or a string (NUL-terminated, UTF-8)
   */
  data(init: number | Uint8Array | string): Data {
    if (typeof init === 'string') init = Buffer.from(`${init}\0`);
    const length = typeof init === 'number' ? init : init.byteLength;
    let chunk = this.#chunks[this.#chunks.length - 1] as Chunk;
    if (chunk.used + length > chunk.size) chunk = this.#addChunk(chunk, length);
    const start = chunk.used;
    const position = chunk.position + start;
    chunk.used = Math.min(alignUp(start + length), chunk.size);
    if (typeof init !== 'number') {
      new Uint8Array(chunk.memory, position, length).set(init);
    } else if (this.#reused) {
      new Uint8Array(chunk.memory, position, length).fill(0);
    }
    return new Data(this, chunk.base + start, length, chunk.memory, position);
  }

  #addChunk(last: Chunk, length: number): Chunk {
    const size = alignUp(Math.max(length, 2 * last.size));
    const base = alignUp(last.base + last.used);
    if (base + size > 0x7fff0000) throw new RangeError('arena beyond 2 GiB');
    const chunk: Chunk = { memory: new ArrayBuffer(size), position: 0, size, used: 0, base };
    this.#chunks.push(chunk);
    this.#contiguous = false;
    return chunk;
  }

  // --- operations -----------------------------------------------------------------------------

  /** All operations added from now on end the program if their result is negative. */
  stopOnError(): this {
    this.#flags |= FLAG_STOP;
    return this;
  }

  /** Ends stopOnError(): operations added from now on may fail, and the program goes on. */
  continueOnError(): this {
    this.#flags &= ~FLAG_STOP;
    return this;
  }

  syscall(name: SyscallName, ...args: Arg[]): Ref {
    if (args.length > 6) throw new RangeError(`${name} with ${args.length} arguments`);
    return this.#add(name, args);
  }

  /** One guarded read of exactly this width. Result 0, -EFAULT (SIGSEGV) or -EIO (SIGBUS). */
  load(width: Width, address: Arg): Ref {
    return this.#add('load', [width, address]);
  }

  /** One guarded write of exactly this width; results as for load(). */
  store(width: Width, address: Arg, value: Arg): Ref {
    return this.#add('store', [width, address, value]);
  }

  /** Copies bytes; guarded, results as for load(). After a fault a part may have been copied. */
  copy(destination: Arg, source: Arg, length: Arg): Ref {
    return this.#add('copy', [destination, source, length]);
  }

  /**
   * Fills memory with the pattern that belongs to `seed`, from byte `phase` of the pattern on.
   * Guarded, results as for load().
   */
  fill(address: Arg, length: Arg, seed: Arg, phase: Arg = 0): Ref {
    return this.#add('fill', [address, length, seed, phase]);
  }

  /** Compares memory with what fill() writes: 0, or 1 + the offset of the first difference. */
  verify(address: Arg, length: Arg, seed: Arg, phase: Arg = 0): Ref {
    return this.#add('verify', [address, length, seed, phase]);
  }

  /**
   * Waits until (load & mask) == value, spinning for 50 us and then looking every 20 us: 0, or -ETIMEDOUT; -EFAULT and -EIO as for load().
   * value(ref) is what was read last.
   */
  wait(width: Width, address: Arg, mask: Arg, value: Arg, timeoutNs: Arg): Ref {
    return this.#add('wait', [width, address, mask, value, timeoutNs]);
  }

  /**
   * Executes the operations from `from` up to here `count` times in all, or until the first
   * negative result, which then is the result of this operation too. count(ref) is the number of
   * complete iterations, times(ref) spans all of them.
   * @param samples receives the duration of each iteration in ns as u64, as many as fit
   */
  repeat(from: Ref, count: number, samples?: Data): Ref {
    if (from.program !== this) throw new TypeError('a reference to another program');
    if (!(count >= 1)) throw new RangeError(`repeat ${count} times`);
    return samples === undefined
      ? this.#add('repeat', [from.index, count])
      : this.#add('repeat', [from.index, count, samples, Math.floor(samples.length / 8)]);
  }

  /**
   * Keeps when operation `first` began and `last` ended, as of their last execution: in a loop, of
   * each iteration.
   * @param samples receives pairs of start and end, CLOCK_MONOTONIC in ns as u64, as many as fit
   */
  sample(first: Ref, last: Ref, samples: Data): Ref {
    if (first.program !== this || last.program !== this)
      throw new TypeError('a reference to another program');
    return this.#add('sample', [
      first.index,
      last.index,
      samples,
      Math.floor(samples.length / SAMPLE_SIZE),
    ]);
  }

  /**
   * Times the operations from `first` to `last` as one: only the begin of the first and the end of the
   * last read the clock, which costs time too.
   */
  timeAsOne(first: Ref, last: Ref): this {
    for (let index = first.index; index <= last.index; index++) {
      const flags =
        (index > first.index ? FLAG_NO_START : 0) | (index < last.index ? FLAG_NO_END : 0);
      const word = HEADER_WORDS_32 + index * OP_WORDS_32;
      this.#words[word] = (this.#words[word] ?? 0) | (flags << 16);
    }
    return this;
  }

  /**
   * A child process executes what `body` adds, and then ends: with exit status 0, or 1 if an
   * operation under stopOnError() failed. The result is its pid; whoever needs its end uses wait4.
   * The whole block is shared with the child while the program runs here, so results of
   * operations in the body can be read afterwards (if the child was waited for).
   */
  fork(body: () => void): Ref {
    const fork = this.#add('fork', [0]);
    body();
    this.#quads[HEADER_WORDS_64 + fork.index * OP_WORDS_64 + OP.args] = BigInt(
      this.#count - fork.index - 1,
    );
    return fork;
  }

  /** Keeps the processor busy for this long. */
  spin(ns: Arg): Ref {
    return this.#add('spin', [ns]);
  }

  /** The processor's hint for spin loops (PAUSE, YIELD). */
  yield(): Ref {
    return this.#add('yield', []);
  }

  /** CLOCK_MONOTONIC in ns, as the result. */
  clock(): Ref {
    return this.#add('clock', []);
  }

  /** `value` rounded up to a multiple of `alignment` (a power of two); -errno is passed through. */
  align(value: Arg, alignment: Arg): Ref {
    return this.#add('align', [value, alignment]);
  }

  #add(name: OpName, args: Arg[]): Ref {
    const index = this.#count;
    if (index === this.#capacity) this.#growRecords();
    this.#count = index + 1;
    const word = HEADER_WORDS_32 + index * OP_WORDS_32;
    let kinds = 0;
    for (let i = 0; i < 6; i++) {
      const slot = word + 2 * (OP.args + i);
      const arg = args[i];
      if (arg === undefined) {
        this.#words[slot] = 0;
        this.#words[slot + 1] = 0;
      } else {
        kinds |= this.#encode(slot, arg) << (4 * i);
      }
    }
    this.#words[word] = OPCODE[name] | (this.#flags << 16);
    this.#words[word + OP_KINDS_32] = kinds;
    return new Ref(this, index);
  }

  /** Writes an argument and returns its kind. */
  #encode(slot: number, arg: Arg): number {
    const words = this.#words;
    if (typeof arg === 'number') {
      if (!Number.isSafeInteger(arg)) throw new RangeError(`not a safe integer: ${arg}`);
      words[slot] = arg;
      words[slot + 1] = Math.floor(arg / 0x100000000);
      return 0;
    }
    if (typeof arg === 'bigint') {
      if (arg >= U64_LIMIT || arg < S64_LOWEST) throw new RangeError(`beyond 64 bits: ${arg}`);
      this.#quads[slot >> 1] = arg;
      return 0;
    }
    if (arg.program !== this) throw new TypeError('an argument that belongs to another program');
    if (arg instanceof Ref) {
      if (arg.index >= this.#count - 1) throw new RangeError('a reference to a later operation');
      words[slot] = ((arg.addend & 0xffff) << 16) | arg.index;
      words[slot + 1] = Math.floor(arg.addend / 0x10000);
      return KIND_REFERENCE;
    }
    words[slot] = arg.offset;
    words[slot + 1] = 0;
    return KIND_ARENA;
  }

  #growRecords(): void {
    const capacity = Math.min(this.#capacity * 4, MAX_OPS);
    if (capacity === this.#capacity) throw new RangeError(`more than ${MAX_OPS} operations`);
    const memory = new ArrayBuffer(HEADER_SIZE + capacity * OP_SIZE);
    const bytes = new Uint8Array(memory);
    bytes.set(this.#bytes.subarray(0, HEADER_SIZE + this.#count * OP_SIZE));
    this.#memory = memory;
    this.#words = new Int32Array(memory);
    this.#quads = new BigUint64Array(memory);
    this.#bytes = bytes;
    this.#capacity = capacity;
    this.#contiguous = false;
  }

  // --- the block ------------------------------------------------------------------------------

  get #arenaSize(): number {
    const last = this.#chunks[this.#chunks.length - 1] as Chunk;
    return last.base + last.used;
  }

  /** Size of the block when it is written in one piece. */
  get blockSize(): number {
    return HEADER_SIZE + this.#count * OP_SIZE + this.#arenaSize;
  }

  #writeHeader(arenaOffset: number): void {
    const words = this.#words;
    words[HEADER.magic] = BLOCK_MAGIC;
    words[HEADER.opCount] = this.#count;
    words[HEADER.arenaOffset] = arenaOffset;
    words[HEADER.arenaSize] = this.#arenaSize;
  }

  /** Writes the whole block in one piece: to copy it elsewhere. Returns its size. */
  writeBlock(target: Uint8Array, position = 0): number {
    const arena = HEADER_SIZE + this.#count * OP_SIZE;
    this.#writeHeader(arena);
    target.set(this.#bytes.subarray(0, arena), position);
    for (const { memory, position: from, used, base } of this.#chunks) {
      target.set(new Uint8Array(memory, from, used), position + arena + base);
    }
    return arena + this.#arenaSize;
  }

  /** Takes over results and arena of a block that was written by writeBlock() and executed. */
  readBlock(source: Uint8Array, position = 0): void {
    const arena = HEADER_SIZE + this.#count * OP_SIZE;
    this.#bytes.set(source.subarray(position, position + arena));
    for (const { memory, position: to, used, base } of this.#chunks) {
      const from = position + arena + base;
      new Uint8Array(memory, to, used).set(source.subarray(from, from + used));
    }
  }

  /** A copy of the arena. */
  copyArena(): Buffer {
    const copy = Buffer.alloc(this.#arenaSize);
    for (const { memory, position, used, base } of this.#chunks) {
      copy.set(new Uint8Array(memory, position, used), base);
    }
    return copy;
  }

  /** Executes the program in this process and thread. */
  run(): this {
    const before = beforeRun(this);
    if (this.#contiguous) {
      const arena = HEADER_SIZE + this.#capacity * OP_SIZE;
      this.#writeHeader(arena);
      check(callWithBuffer('vc_run', this.#bytes, arena + this.#arenaSize), 'vc_run');
    } else {
      const size = this.blockSize;
      if (scratch.byteLength < size) scratch = new Uint8Array(new ArrayBuffer(2 * size));
      this.writeBlock(scratch);
      check(callWithBuffer('vc_run', scratch, size), 'vc_run');
      this.readBlock(scratch);
    }
    afterRun(this, 'here', before);
    return this;
  }

  // --- results --------------------------------------------------------------------------------

  /** Operations passed when the program ended: all, unless one under stopOnError() failed. */
  get executed(): number {
    return this.#words[HEADER.executed] as number;
  }

  #slot(ref: Ref, field: number): number {
    if (ref.program !== this) throw new TypeError('a reference to another program');
    if (ref.index >= this.#count) throw new RangeError(`no operation ${ref.index}`);
    return HEADER_WORDS_64 + ref.index * OP_WORDS_64 + field;
  }

  /** >= 0, or -errno; -ECANCELED if the program ended before. Use address() beyond 2^53. */
  result(ref: Ref): number {
    const slot = 2 * this.#slot(ref, OP.result);
    const low = this.#words[slot] as number;
    const high = this.#words[slot + 1] as number;
    return high * 0x100000000 + (low >>> 0);
  }

  /** The result as an unsigned number of 64 bits: of mmap, an address. */
  address(ref: Ref): bigint {
    return this.#quads[this.#slot(ref, OP.result)] as bigint;
  }

  /** What a load (or wait) read. */
  value(ref: Ref): bigint {
    return this.#quads[this.#slot(ref, OP.value)] as bigint;
  }

  /** When the operation was executed last: CLOCK_MONOTONIC in ns. */
  times(ref: Ref): { start: bigint; end: bigint } {
    return {
      start: this.#quads[this.#slot(ref, OP.start)] as bigint,
      end: this.#quads[this.#slot(ref, OP.end)] as bigint,
    };
  }

  /** How often the operation was executed; of repeat, the complete iterations. */
  count(ref: Ref): number {
    return Number(this.#quads[this.#slot(ref, OP.count)]);
  }

  /** Operation `index` decoded, with its results. */
  op(index: number): DecodedOp {
    if (!(index >= 0 && index < this.#count)) throw new RangeError(`no operation ${index}`);
    return decodeOp(Buffer.from(this.#memory), HEADER_SIZE + index * OP_SIZE);
  }

  // --- for the liar ---------------------------------------------------------------------------

  /** Replaces the result of operation `index`. */
  forgeResult(index: number, result: number | bigint): void {
    this.#quads[this.#slot(new Ref(this, index), OP.result)] = BigInt.asUintN(64, BigInt(result));
  }

  /** Replaces the value that the load at `index` read. */
  forgeValue(index: number, value: number | bigint): void {
    this.#quads[this.#slot(new Ref(this, index), OP.value)] = BigInt.asUintN(64, BigInt(value));
  }

  /** A live view of `length` bytes at `offset` of the arena (they must lie within one area). */
  arenaBytes(offset: number, length: number): Buffer {
    for (const { memory, position, used, base } of this.#chunks) {
      if (offset >= base && offset + length <= base + used) {
        return Buffer.from(memory, position + offset - base, length);
      }
    }
    throw new RangeError(`no ${length} bytes at ${offset} of the arena`);
  }

  /** Size of the arena in bytes. */
  get arenaSize(): number {
    return this.#arenaSize;
  }
}

export { Data, Pointer, Ref };
