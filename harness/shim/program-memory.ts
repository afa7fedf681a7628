import { Arena, alignUp, memoryOf } from './arena.ts';
import { Ref, type Arg, type Data } from './arguments.ts';
import {
  BLOCK_MAGIC,
  HEADER,
  HEADER_SIZE,
  KIND_ARENA,
  KIND_REFERENCE,
  MAX_OPS,
  OP,
  OP_KINDS_32,
  OP_SIZE,
  decodeOp,
  type DecodedOp,
} from './block.ts';
import { callWithBuffer, check } from './library.ts';
import { OPCODE, type OpName } from './opcodes.ts';

const INITIAL_OPS = 16;
const INITIAL_ARENA = 2048;
const U64_LIMIT = 1n << 64n;
const S64_LOWEST = -(1n << 63n);

const OP_WORDS_32 = OP_SIZE / 4;
const OP_WORDS_64 = OP_SIZE / 8;
const HEADER_WORDS_32 = HEADER_SIZE / 4;
const HEADER_WORDS_64 = HEADER_SIZE / 8;

/** Where programs are put together that do not lie in one piece. Grows as needed. */
let scratch = new Uint8Array(0);

/** The block of a program as long as it grows: header, records of operations and arena, and their results after a run. */
export class ProgramMemory {
  /** Header and records; usually the arena lies behind them. */
  #memory: ArrayBuffer;
  #words: Int32Array;
  #quads: BigUint64Array;
  #bytes: Uint8Array;
  #capacity: number;
  #count = 0;
  /** What was added last, and its opcode: most calls of a fuzzer are of one name. */
  #lastName: OpName = 'getpid';
  #lastOpcode = OPCODE.get('getpid')!;
  readonly #arena: Arena;

  /**
   * @param reserve how much to have ready from the beginning; it grows beyond as needed
   */
  constructor(reserve: { ops?: number; arena?: number } = {}) {
    this.#capacity = reserve.ops ?? INITIAL_OPS;
    const arena = alignUp(reserve.arena ?? INITIAL_ARENA);
    const position = HEADER_SIZE + this.#capacity * OP_SIZE;
    const memory = memoryOf(position + arena);
    this.#memory = memory.bytes.buffer;
    this.#words = memory.words;
    this.#quads = new BigUint64Array(this.#memory);
    this.#bytes = memory.bytes;
    this.#arena = new Arena(memory, position, arena);
  }

  /** Number of operations. */
  get length(): number {
    return this.#count;
  }

  /** Empties the program and keeps its memory. Refs and Data of before must not be used again. */
  reset(): this {
    this.#count = 0;
    this.#arena.clear();
    return this;
  }

  /**
   * An area in the arena, aligned to 16 bytes.
   * @param init the size in bytes (zeroed), the content, or a string (NUL-terminated, UTF-8)
   */
  data(init: number | Uint8Array | string): Data {
    return this.#arena.allocate(this, typeof init === 'string' ? Buffer.from(`${init}\0`) : init);
  }

  // --- operations -----------------------------------------------------------------------------

  /** Arguments one by one, not as an array: a fuzzer adds more operations than the kernel has time for. */
  protected add(
    flags: number,
    name: OpName,
    a: Arg = 0,
    b: Arg = 0,
    c: Arg = 0,
    d?: Arg,
    e?: Arg,
    f?: Arg,
  ): Ref {
    const index = this.#count;
    if (index === this.#capacity) this.#growRecords();
    this.#count = index + 1;
    const words = this.#words;
    const word = HEADER_WORDS_32 + index * OP_WORDS_32;
    const slot = word + 2 * OP.args;
    let kinds = this.#encode(slot, a);
    kinds |= this.#encode(slot + 2, b) << 4;
    kinds |= this.#encode(slot + 4, c) << 8;
    if (d === undefined) {
      for (let unused = slot + 6; unused < slot + 12; unused++) words[unused] = 0;
    } else {
      kinds |= this.#encode(slot + 6, d) << 12;
      kinds |= this.#encode(slot + 8, e ?? 0) << 16;
      kinds |= this.#encode(slot + 10, f ?? 0) << 20;
    }
    if (name !== this.#lastName) {
      this.#lastName = name;
      this.#lastOpcode = OPCODE.get(name)!;
    }
    words[word] = this.#lastOpcode | (flags << 16);
    words[word + OP_KINDS_32] = kinds;
    return new Ref(this, index);
  }

  /** Sets flags of an operation that was added already. */
  protected addFlags(index: number, flags: number): void {
    const word = HEADER_WORDS_32 + index * OP_WORDS_32;
    this.#words[word] = (this.#words[word] ?? 0) | (flags << 16);
  }

  /** Replaces argument 0 of an operation that was added already. */
  protected setFirstArgument(index: number, value: number): void {
    this.#quads[HEADER_WORDS_64 + index * OP_WORDS_64 + OP.args] = BigInt(value);
  }

  /** Writes an argument and returns its kind. */
  #encode(slot: number, arg: Arg): number {
    const words = this.#words;
    if (typeof arg === 'number') {
      if ((arg | 0) === arg) {
        words[slot] = arg;
        words[slot + 1] = arg >> 31;
        return 0;
      }
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
  }

  // --- the block ------------------------------------------------------------------------------

  /** Size of the arena in bytes. */
  get arenaSize(): number {
    return this.#arena.size;
  }

  /** Size of the block when it is written in one piece. */
  get blockSize(): number {
    return HEADER_SIZE + this.#count * OP_SIZE + this.arenaSize;
  }

  #writeHeader(arenaOffset: number): void {
    const words = this.#words;
    words[HEADER.magic] = BLOCK_MAGIC;
    words[HEADER.opCount] = this.#count;
    words[HEADER.arenaOffset] = arenaOffset;
    words[HEADER.arenaSize] = this.arenaSize;
  }

  /** Writes the whole block in one piece: to copy it elsewhere. Returns its size. */
  writeBlock(target: Uint8Array, position = 0): number {
    const arena = HEADER_SIZE + this.#count * OP_SIZE;
    this.#writeHeader(arena);
    target.set(this.#bytes.subarray(0, arena), position);
    this.#arena.writeTo(target, position + arena);
    return this.blockSize;
  }

  /** Takes over results and arena of a block that was written by writeBlock() and executed. */
  readBlock(source: Uint8Array, position = 0): void {
    const arena = HEADER_SIZE + this.#count * OP_SIZE;
    this.#bytes.set(source.subarray(position, position + arena));
    this.#arena.readFrom(source, position + arena);
  }

  /** A copy of the arena. */
  copyArena(): Buffer {
    const copy = Buffer.alloc(this.arenaSize);
    this.#arena.writeTo(copy, 0);
    return copy;
  }

  /** Executes the block in this process and thread: where it lies, if it lies in one piece. */
  protected execute(): void {
    if (this.#arena.isWithin(this.#memory)) {
      const arena = HEADER_SIZE + this.#capacity * OP_SIZE;
      this.#writeHeader(arena);
      check(callWithBuffer('vc_run', this.#bytes, arena + this.arenaSize), 'vc_run');
    } else {
      const size = this.blockSize;
      if (scratch.byteLength < size) scratch = new Uint8Array(new ArrayBuffer(2 * size));
      this.writeBlock(scratch);
      check(callWithBuffer('vc_run', scratch, size), 'vc_run');
      this.readBlock(scratch);
    }
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
    this.#slot(ref, OP.result);
    return this.resultAt(ref.index);
  }

  /** The same of operation `index`, for those who keep the indexes of thousands. */
  resultAt(index: number): number {
    const slot = HEADER_WORDS_32 + index * OP_WORDS_32 + 2 * OP.result;
    const low = this.#words[slot] as number;
    const high = this.#words[slot + 1] as number;
    return high * 0x100000000 + (low >>> 0);
  }

  /** The u64 at `offset` of the arena, a multiple of 4: exact up to 2^53. */
  arenaU64(offset: number): number {
    return this.#arena.u64(offset);
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
    return this.#arena.view(offset, length);
  }
}
