import type { ConfigPair, ConfigStructure } from '../../../harness/testing/index.ts';

/** Registers of the hardware that change by themselves, or are cleared by what is written beside them. */
const UNSTABLE: readonly { structure: string; offset: number; bytes: number }[] = [
  { structure: 'HEADER', offset: 0x06, bytes: 2 },
  { structure: 'EXP', offset: 0x0a, bytes: 2 },
  { structure: 'EXP', offset: 0x12, bytes: 2 },
  { structure: 'EXP', offset: 0x32, bytes: 2 },
];
/** BAR 0 to 5 and the ROM: the kernel forgets address bits below the size. */
const BARS = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30];

/**
 * The virtualised config space of a device, byte by byte: the tables of
 * drivers/vfio/pci/vfio_pci_config.c and what has been written so far.
 */
export class ConfigFuzzModel {
  readonly size: number;
  /** Bits that come from the kernel's copy. */
  readonly virtual: Buffer;
  /** What the user sees of the virtual bits. */
  readonly copy: Buffer;
  /** Bits of the hardware that a write through VFIO must leave alone. */
  readonly fixed: Buffer;
  /** Virtual bits that a write changes. */
  readonly #writable: Buffer;
  /** Bits that are an action, or belong to nobody: written as they are. */
  readonly #kept: Buffer;
  readonly #initial: Buffer;
  /** Where there is something to put back after a program. */
  readonly registers: readonly { at: number; width: number }[];

  /** @param decoded bits of the BARs that a user can write, as a write of ones shows them. */
  constructor({ model, triggers }: ConfigPair, initial: Buffer, decoded: Buffer) {
    const { size, virtual, writable, raw, structures } = model;
    this.size = size;
    this.virtual = virtual;
    this.copy = Buffer.from(initial);
    this.#initial = Buffer.from(initial);
    const each = (bits: (at: number) => number) => Buffer.from(virtual.map((_, at) => bits(at)));
    this.fixed = each((at) => ~((writable[at]! & ~virtual[at]!) | raw[at]!) & 0xff);
    this.#writable = each((at) => writable[at]! & virtual[at]! & decoded[at]!);
    this.#kept = each((at) => triggers[at]! | raw[at]!);
    for (const part of structures) this.#exclude(part);
    this.registers = structures.flatMap(({ start, length, registers, access }) =>
      access === 'raw'
        ? []
        : registers
            .filter(({ writable: bits, offset }) => bits !== 0 && offset < length)
            .map(({ offset, width }) => ({ at: start + offset, width })),
    );
  }

  #exclude({ name, start, length }: ConfigStructure): void {
    for (const { structure, offset, bytes } of UNSTABLE) {
      if (name === structure) this.fixed.fill(0, start + offset, start + offset + bytes);
    }
    // A write to its address register starts a read of the device's memory.
    if (name === 'VPD') this.#kept.fill(0xff, start, start + length);
  }

  /** The bytes to write instead of `wanted`, so that what must be kept is. */
  allowed(at: number, wanted: Buffer): Buffer {
    return Buffer.from(
      wanted.map((byte, offset) => {
        const kept = this.#kept[at + offset]!;
        const virtual = this.virtual[at + offset]!;
        const current =
          (this.copy[at + offset]! & virtual) | (this.#initial[at + offset]! & ~virtual);
        return (byte & ~kept) | (current & kept);
      }),
    );
  }

  /** A write through VFIO. */
  write(at: number, bytes: Buffer): void {
    bytes.forEach((byte, offset) => {
      const writable = this.#writable[at + offset]!;
      this.copy[at + offset] = (this.copy[at + offset]! & ~writable) | (byte & writable);
    });
  }

  /** What the registers held before the first program. */
  initial(at: number, width: number): Buffer {
    return this.#initial.subarray(at, at + width);
  }
}

/** Offsets of the BARs and the ROM's, 32 bits each. */
export const BAR_OFFSETS: readonly number[] = BARS;
