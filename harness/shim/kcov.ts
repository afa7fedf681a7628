import { callWithBuffer, check } from './library.ts';

/** Addresses of the kernel's, from the first to before the last. */
export interface AddressRange {
  start: bigint;
  end: bigint;
}

/** Addresses that are asked for at once. */
const ROOM = 4096;

/**
 * Which addresses of the kernel's programs reach, as KCOV tells. All programs of this process are traced from
 * begin() to end().
 */
export const kcov = {
  /**
   * @param ranges in ascending order: only what lies in them counts
   * @throws KernelError if the kernel has no KCOV
   */
  begin(ranges: readonly AddressRange[]): void {
    const buffer = Buffer.alloc(16 * ranges.length);
    ranges.forEach(({ start, end }, index) => {
      buffer.writeBigUInt64LE(start, 16 * index);
      buffer.writeBigUInt64LE(end, 16 * index + 8);
    });
    check(callWithBuffer('vc_kcov_open', buffer, ranges.length), 'KCOV');
  },

  /** Addresses reached that no call of before has told. */
  fresh(): bigint[] {
    const addresses: bigint[] = [];
    const buffer = Buffer.alloc(8 * ROOM);
    for (let count = ROOM; count === ROOM;) {
      count = callWithBuffer('vc_kcov_fresh', buffer, ROOM);
      for (let index = 0; index < count; index++) {
        addresses.push(buffer.readBigUInt64LE(8 * index));
      }
    }
    return addresses;
  },

  end(): void {
    callWithBuffer('vc_kcov_close', Buffer.alloc(1), 0);
  },
};
