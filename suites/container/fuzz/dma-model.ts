import { ERRNO } from '../../../harness/testing/index.ts';
import { WRAP_ERRNO } from '../wrap-errno.ts';

/** Pages of IOVA space and of memory that the fuzzer plays with. */
export const WINDOW = 64;

/** A mapping as the model knows it; everything is counted in pages. */
export interface Mapped {
  /** First page within the window. */
  at: number;
  pages: number;
  /** First page of the memory that the device sees there. */
  from: number;
  readable: boolean;
  /** Whether its memory is locked in this process's name, not in that of a child. */
  isOwn: boolean;
  /** Whether the vaddr was taken away with VFIO_DMA_UNMAP_FLAG_VADDR. */
  vaddrInvalid: boolean;
}

/** What the process may do with a page of its memory. */
export type Protection = 'none' | 'read' | 'write';

/** A request that is well formed, in pages. */
export interface MapRequest {
  at: number;
  pages: number;
  from: number;
  read: boolean;
  write: boolean;
}

/** Range of an unmap, in pages of the window; it may begin before and end behind it. */
export interface Range {
  at: number;
  pages: number;
}

/** A range that passes 2^64. */
export const WRAPS = -ERRNO[WRAP_ERRNO];

/**
 * drivers/vfio/vfio_iommu_type1.c as a small program: which mappings there are, and what each request
 * is answered with. Results are 0 or -errno.
 */
export class DmaModel {
  readonly isV2: boolean;
  /** Mappings allowed: `dma_entry_limit`. */
  readonly limit: number;
  isTracking = false;
  readonly #protections: Protection[];
  readonly #owners: (Mapped | undefined)[] = new Array<undefined>(WINDOW);
  /** As old as they come: programs name them by their age. */
  readonly #mappings: Mapped[] = [];
  readonly #former: (number | undefined)[] = new Array<undefined>(WINDOW);

  constructor(isV2: boolean, limit: number, protections: Protection[]) {
    this.isV2 = isV2;
    this.limit = limit;
    this.#protections = protections;
  }

  get mappings(): readonly Mapped[] {
    return this.#mappings;
  }

  /** Mappings that may still be made. */
  get available(): number {
    return this.limit - this.#mappings.length;
  }

  /** Each mapping counts its pages, also a page that another one has. */
  get lockedPages(): number {
    let sum = 0;
    for (const { pages, isOwn } of this.#mappings) sum += isOwn ? pages : 0;
    return sum;
  }

  /** The mapping that has a page of the window. */
  ownerOf(page: number): Mapped | undefined {
    return this.#owners[page];
  }

  /** The page of memory that was last mapped at a page of the window, readable for the device. */
  formerOf(page: number): number | undefined {
    return this.#former[page];
  }

  /** The mappings that a range touches, in the order of their IOVAs. */
  within({ at, pages }: Range): Mapped[] {
    const found: Mapped[] = [];
    const end = Math.min(WINDOW, at + pages);
    for (let page = Math.max(0, at); page < end;) {
      const owner = this.#owners[page];
      if (owner) found.push(owner);
      page = owner ? owner.at + owner.pages : page + 1;
    }
    return found;
  }

  protect(page: number, protection: Protection): void {
    this.#protections[page] = protection;
  }

  /** vfio_dma_do_map() up to the point where memory is pinned: null if nothing speaks against it. */
  refusal(at: number, pages: number): number | null {
    for (let page = at; page < at + pages; page++) {
      if (this.#owners[page]) return -ERRNO.EEXIST;
    }
    return this.available === 0 ? -ERRNO.ENOSPC : null;
  }

  /** vfio_dma_do_map() of an aligned request within the window. */
  map({ at, pages, from, read, write }: MapRequest, isOwn = true): number {
    const refusal = this.refusal(at, pages);
    if (refusal !== null) return refusal;
    for (let page = from; page < from + pages; page++) {
      const protection = this.#protections[page] ?? 'none';
      // vaddr_get_pfns(): FOLL_WRITE if the device may write.
      if (protection === 'none' || (write && protection === 'read')) return -ERRNO.EFAULT;
    }
    const mapped = { at, pages, from, readable: read, isOwn, vaddrInvalid: false };
    this.#mappings.push(mapped);
    for (let page = at; page < at + pages; page++) this.#owners[page] = mapped;
    return 0;
  }

  /** VFIO_DMA_MAP_FLAG_VADDR. */
  giveVaddr(range: Range): number {
    const [found] = this.within(range);
    if (!found) return -ERRNO.ENOENT;
    if (!found.vaddrInvalid || found.at !== range.at || found.pages !== range.pages) {
      return -ERRNO.EINVAL;
    }
    found.vaddrInvalid = false;
    // vfio_change_dma_owner()
    found.isOwn = true;
    return 0;
  }

  /**
   * Which mappings vfio_dma_do_unmap() goes through; -EINVAL if a v2 container refuses because the
   * range bisects one. A v1 container stops at one that begins before the range.
   */
  #visited(range: Range): Mapped[] | number {
    const found = this.within(range);
    const first = found[0];
    const last = found[found.length - 1];
    if (!first || !last) return [];
    if (this.isV2) {
      const isBisected = first.at < range.at || last.at + last.pages > range.at + range.pages;
      return isBisected ? -ERRNO.EINVAL : found;
    }
    return first.at < range.at ? [] : found;
  }

  /** A well formed unmap: the pages unmapped, or -errno. */
  unmap(range: Range): number {
    const visited = this.#visited(range);
    if (typeof visited === 'number') return visited;
    let pages = 0;
    for (const mapped of visited) {
      pages += mapped.pages;
      this.#forget(mapped);
      for (let page = mapped.at; page < mapped.at + mapped.pages; page++) {
        this.#owners[page] = undefined;
        this.#former[page] = mapped.readable ? mapped.from + page - mapped.at : undefined;
      }
    }
    return pages;
  }

  /** Faster than splice(): nearly every operation of a fuzzer comes by here. */
  #forget(mapped: Mapped): void {
    const mappings = this.#mappings;
    let index = mappings.indexOf(mapped) + 1;
    for (; index < mappings.length; index++) mappings[index - 1] = mappings[index]!;
    mappings.pop();
  }

  /** VFIO_DMA_UNMAP_FLAG_VADDR: the pages concerned, or -errno; all of them or none. */
  takeVaddr(range: Range): number {
    const visited = this.#visited(range);
    if (typeof visited === 'number') return visited;
    if (visited.some(({ vaddrInvalid }) => vaddrInvalid)) return -ERRNO.EINVAL;
    for (const mapped of visited) mapped.vaddrInvalid = true;
    return visited.reduce((sum, { pages }) => sum + pages, 0);
  }

  /** Whether a range may be asked for its dirty pages: it bisects no mapping. */
  isWhole({ at, pages }: Range): boolean {
    const found = this.within({ at, pages });
    return !found.some((mapped) => mapped.at < at || mapped.at + mapped.pages > at + pages);
  }
}

/** Everything there is. */
export const EVERYTHING: Range = { at: 0, pages: WINDOW };
