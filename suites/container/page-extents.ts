/** Ranges of I/O addresses by the numbers of their pages. */
import type { Container, DmaMemory } from '../../harness/testing/index.ts';

export const PAGE = 4096n;
/** Where page 0 is mapped. */
export const BASE = 0x100000n;

export type Extent = readonly [at: number, pages: number];

/** The bytes of an extent. */
export function range(at: number, pages: number): { iova: bigint; size: bigint } {
  return { iova: BASE + BigInt(at) * PAGE, size: BigInt(pages) * PAGE };
}

/** Maps each extent to the beginning of the memory. */
export function mapExtents(container: Container, ram: DmaMemory, extents: readonly Extent[]): void {
  for (const extent of extents) container.mapDma({ ...range(...extent), vaddr: ram.address });
}
