/** Ranges of I/O addresses by the numbers of their pages. */
import type { Container, DmaMemory } from '../../harness/testing/index.ts';

export const PAGE = 4096n;
/** Where page 0 is mapped. */
export const BASE = 0x100000n;

/** The address of a page. */
export const at = (page: number) => BASE + BigInt(page) * PAGE;

export type Extent = readonly [page: number, pages: number];

/** Bytes of I/O addresses. */
export interface Range {
  iova: bigint;
  size: bigint;
}

/** The bytes of an extent. */
export function range(page: number, pages: number): Range {
  return { iova: at(page), size: BigInt(pages) * PAGE };
}

/** Maps each extent to the beginning of the memory. */
export function mapExtents(container: Container, ram: DmaMemory, extents: readonly Extent[]): void {
  for (const extent of extents) container.mapDma({ ...range(...extent), vaddr: ram.address });
}
