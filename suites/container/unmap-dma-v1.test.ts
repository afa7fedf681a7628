import {
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  expect,
  mappingState,
  test,
  type Container,
  type DmaMemory,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const BASE = 0x100000n;
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';

/** Mappings at page offsets from {@link BASE}. */
function mapAt(
  container: Container,
  ram: DmaMemory,
  mappings: readonly [at: bigint, pages: bigint][],
) {
  for (const [at, pages] of mappings) {
    container.mapDma({ iova: BASE + at * PAGE, vaddr: ram.address, size: pages * PAGE });
  }
}

const range = (at: bigint, pages: bigint) => ({ iova: BASE + at * PAGE, size: pages * PAGE });

test(
  'container.unmap-dma.v1.offset',
  'a v1 container answers a range that begins inside a mapping with success and zero bytes',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A3'] },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapAt(container, ram, [[0n, 4n]]);
    const before = mappingState(container);
    for (const [at, pages] of [
      [1n, 1n],
      [1n, 3n],
      [3n, 1n],
      [2n, 8n],
    ] as const) {
      const answer = container.tryUnmapDma(range(at, pages));
      expect(answer).toSucceed(0);
      expect(answer.value).toBe(0n);
    }
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(range(0n, 4n))).toBe(4n * PAGE);
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
      [0n, 1n],
      [0n, 3n],
      [-1n, 2n],
      [-8n, 9n],
      [0n, 4n],
      [-1n, 6n],
    ] as const) {
      mapAt(container, ram, [[0n, 4n]]);
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
    mapAt(container, ram, [
      [0n, 2n],
      [4n, 3n],
      [8n, 4n],
      [12n, 1n],
    ]);
    expect(container.unmapDma(range(0n, 9n))).toBe(9n * PAGE);
    expect(container.unmapDma(range(0n, 16n))).toBe(PAGE);
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
    mapAt(container, ram, [
      [0n, 4n],
      [4n, 2n],
    ]);
    const before = mappingState(container);
    expect(container.unmapDma(range(2n, 4n))).toBe(0n);
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(range(0n, 6n))).toBe(6n * PAGE);
  },
);

test(
  'container.unmap-dma.v1.backwards',
  'page by page from the end, a v1 container unmaps nothing until the first page takes all',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A3'] },
  ({ containerOfType, memory }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    mapAt(container, ram, [[0n, 8n]]);
    const reported = [];
    for (let at = 7n; at >= 0n; at--) reported.push(container.unmapDma(range(at, 1n)));
    expect(reported).toEqual([0n, 0n, 0n, 0n, 0n, 0n, 0n, 8n * PAGE]);
  },
);
