import {
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  expect,
  mappingState,
  test,
} from '../../../harness/testing/index.ts';
import { PAGE, mapExtents, range } from '../page-extents.ts';

const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';

test(
  'container.unmap-dma.v1.offset',
  'a v1 container answers a range that begins inside a mapping with success and zero bytes',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A3'] },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 4]]);
    const before = mappingState(container);
    for (const [at, pages] of [
      [1, 1],
      [1, 3],
      [3, 1],
      [2, 8],
    ] as const) {
      const answer = container.tryUnmapDma(range(at, pages));
      expect(answer).toSucceed(0);
      expect(answer.value).toBe(0n);
    }
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(range(0, 4))).toBe(4n * PAGE);
  },
);

test(
  'container.unmap-dma.v1.first-page',
  'a v1 container unmaps the whole mapping when the range covers its first page',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A3'] },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const before = mappingState(container);
    for (const [at, pages] of [
      [0, 1],
      [0, 3],
      [-1, 2],
      [-8, 9],
      [0, 4],
      [-1, 6],
    ] as const) {
      mapExtents(container, ram, [[0, 4]]);
      expect(container.unmapDma(range(at, pages))).toBe(4n * PAGE);
      expect(mappingState(container)).toEqual(before);
    }
  },
);

test(
  'container.unmap-dma.v1.several',
  'a v1 container unmaps every mapping whose first page is in the range, the last one as a whole',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const before = mappingState(container);
    mapExtents(container, ram, [
      [0, 2],
      [4, 3],
      [8, 4],
      [12, 1],
    ]);
    expect(container.unmapDma(range(0, 9))).toBe(9n * PAGE);
    expect(container.unmapDma(range(0, 16))).toBe(PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.unmap-dma.v1.offset-over-several',
  'a v1 container unmaps nothing if the range begins inside a mapping, not even those behind it',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapExtents(container, ram, [
      [0, 4],
      [4, 2],
    ]);
    const before = mappingState(container);
    expect(container.unmapDma(range(2, 4))).toBe(0n);
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(range(0, 6))).toBe(6n * PAGE);
  },
);

test(
  'container.unmap-dma.v1.backwards',
  'page by page from the end, a v1 container unmaps nothing until the first page takes all',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A3'] },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 8]]);
    const reported = [];
    for (let at = 7; at >= 0; at--) reported.push(container.unmapDma(range(at, 1)));
    expect(reported).toEqual([0n, 0n, 0n, 0n, 0n, 0n, 0n, 8n * PAGE]);
  },
);
