import {
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  type Answer,
  type Container,
} from '../../../harness/testing/index.ts';
import type { Range } from '../page-extents.ts';

export const MAP_VADDR = VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_VADDR');
export const UNMAP_VADDR = VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_VADDR');

/** Asks for a range's vaddr to be forgotten; the mappings stay. */
export function invalidate(container: Container, range: Range): Answer<bigint> {
  return container.tryUnmapDma({ ...range, flags: VFIO_DMA_UNMAP_FLAG_VADDR });
}

/** Gives a mapping whose vaddr is invalid a new one. */
export function restore(container: Container, range: Range, vaddr: bigint): Answer {
  return container.tryMapDma({ ...range, vaddr, flags: VFIO_DMA_MAP_FLAG_VADDR });
}

export function expectInvalidated(answer: Answer<bigint>, size: bigint): void {
  expect(answer).toSucceed(0);
  expect(answer.value).toBe(size);
}
