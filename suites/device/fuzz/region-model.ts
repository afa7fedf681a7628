import { ERRNO } from '../../../harness/testing/index.ts';

/** A mapping of pages of the region into this process. */
export interface MappedPages {
  /** First page of the region, and how many. */
  page: number;
  pages: number;
  isWritable: boolean;
}

const PAGE = 4096;

/**
 * A region of memory behind a BAR, as drivers/vfio/pci/vfio_pci_rdwr.c and vfio_pci_core_mmap() show
 * it: through the file and through mappings the same bytes, and nothing while memory is disabled.
 */
export class RegionModel {
  isEnabled = true;
  readonly slots: (MappedPages | undefined)[];
  readonly #size: number;
  /** Only what was written; the rest is zero. */
  readonly #bytes = new Map<number, number>();

  constructor(size: number, slots: number) {
    this.#size = size;
    this.slots = new Array<undefined>(slots);
  }

  byte(at: number): number {
    return this.#bytes.get(at) ?? 0;
  }

  bytes(at: number, length: number): Buffer {
    return Buffer.from(Array.from({ length }, (_, index) => this.byte(at + index)));
  }

  #put(at: number, bytes: Uint8Array): void {
    bytes.forEach((byte, index) => this.#bytes.set(at + index, byte));
  }

  /** What pread() and pwrite() return: the access ends with the region. */
  transfer(at: number, length: number): number {
    if (at >= this.#size) return -ERRNO.EINVAL;
    if (!this.isEnabled) return -ERRNO.EIO;
    return Math.min(length, this.#size - at);
  }

  write(at: number, bytes: Uint8Array): number {
    const done = this.transfer(at, bytes.length);
    if (done > 0) this.#put(at, bytes.subarray(0, done));
    return done;
  }

  /** mmap() of pages, in place of what the slot had. */
  map(slot: number, mapped: MappedPages): number {
    if ((mapped.page + mapped.pages) * PAGE > this.#size) return -ERRNO.EINVAL;
    this.slots[slot] = mapped;
    return 0;
  }

  /** What a guarded access to a mapping returns, at a byte that lies in it. */
  access(slot: number, isStore: boolean): number {
    const mapped = this.slots[slot];
    if (!mapped || (isStore && !mapped.isWritable)) return -ERRNO.EFAULT;
    return this.isEnabled ? 0 : -ERRNO.EIO;
  }

  /** Where a byte of a mapping lies in the region. */
  place(slot: number, at: number): number {
    return (this.slots[slot]?.page ?? 0) * PAGE + at;
  }

  store(slot: number, at: number, bytes: Uint8Array): number {
    const result = this.access(slot, true);
    if (result === 0) this.#put(this.place(slot, at), bytes);
    return result;
  }
}
