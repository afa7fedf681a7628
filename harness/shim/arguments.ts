/** What an operation of a program takes as arguments. Each belongs to one program, which alone can use it. */

/** The result of an earlier operation (of a load: the value it read). */
export class Ref {
  readonly program: object;
  /** The operation's index in its program. */
  readonly index: number;
  /** Added to the result, -2^47 .. 2^47-1. */
  readonly addend: number;

  constructor(program: object, index: number, addend = 0) {
    this.program = program;
    this.index = index;
    this.addend = addend;
  }

  /** The same result plus `addend`: an address within what was mapped, for example. */
  plus(addend: number | bigint): Ref {
    return new Ref(this.program, this.index, this.addend + Number(addend));
  }
}

/** A place in a program's arena; as an argument it becomes an absolute address. */
export class Pointer {
  readonly program: object;
  /** From the start of the arena, in bytes. */
  readonly offset: number;

  constructor(program: object, offset: number) {
    this.program = program;
    this.offset = offset;
  }
}

/** A piece of memory, in bytes and in words. */
export interface Memory {
  bytes: Uint8Array<ArrayBuffer>;
  words: Int32Array<ArrayBuffer>;
}

const BITS_32 = 0x1_0000_0000;

/**
 * An area in a program's arena; as an argument it is the address of its first byte. No Pointer by
 * inheritance: fuzzers make thousands, and a class of its own is made several times as fast.
 */
export class Data {
  readonly program: object;
  /** From the start of the arena, in bytes. */
  readonly offset: number;
  readonly length: number;
  readonly #memory: Memory;
  readonly #position: number;
  #bytes: Buffer | null = null;

  constructor(program: object, offset: number, length: number, memory: Memory, position: number) {
    this.program = program;
    this.offset = offset;
    this.length = length;
    this.#memory = memory;
    this.#position = position;
  }

  /** A live view: what the program will see, and after a run what it left there. */
  get bytes(): Buffer {
    this.#bytes ??= Buffer.from(this.#memory.bytes.buffer, this.#position, this.length);
    return this.#bytes;
  }

  // What fuzzers write thousands of times costs no view of its own. Offsets are multiples of 4.

  setU32(offset: number, value: number): void {
    this.#memory.words[(this.#position + offset) >> 2] = value;
  }

  /** Numbers are not negative, and safe integers. */
  setU64(offset: number, value: number | bigint): void {
    const word = (this.#position + offset) >> 2;
    const { words } = this.#memory;
    if (typeof value === 'bigint') {
      words[word] = Number(BigInt.asIntN(32, value));
      words[word + 1] = Number(BigInt.asIntN(32, value >> 32n));
    } else {
      words[word] = value;
      words[word + 1] = value / BITS_32;
    }
  }

  /** The address of byte `offset` of this area (its end included). */
  at(offset: number): Pointer {
    if (!(offset >= 0 && offset <= this.length)) {
      throw new RangeError(`offset ${offset} outside of data of ${this.length} bytes`);
    }
    return new Pointer(this.program, this.offset + offset);
  }
}

/** Negative numbers are passed in two's complement. Numbers must be safe integers. */
export type Arg = number | bigint | Ref | Pointer | Data;
