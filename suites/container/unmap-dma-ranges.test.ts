import {
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  mappingState,
  test,
  type Container,
  type DmaMemory,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const BASE = 0x100000n;
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const REMOVE = 'drivers/vfio/vfio_iommu_type1.c vfio_remove_dma()';

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
  'container.unmap-dma.split',
  'a v2 container does not split a mapping: each range that bisects it is refused and it stays whole',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapAt(container, ram, [[0n, 4n]]);
    const before = mappingState(container);
    for (const [at, pages] of [
      [0n, 1n],
      [0n, 3n],
      [1n, 1n],
      [1n, 2n],
      [1n, 3n],
      [3n, 1n],
      [-2n, 3n],
      [-2n, 5n],
      [3n, 4n],
      [1n, 8n],
    ] as const) {
      const answer = container.tryUnmapDma(range(at, pages));
      expect(answer).toFailWith('EINVAL');
      expect(answer.value).toBe(pages * PAGE);
    }
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(range(0n, 4n))).toBe(4n * PAGE);
  },
);

test(
  'container.unmap-dma.larger-range',
  'a range larger than a mapping on one or both sides unmaps it and reports its size',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const before = mappingState(container);
    for (const [at, pages] of [
      [0n, 8n],
      [-4n, 6n],
      [-4n, 10n],
    ] as const) {
      mapAt(container, ram, [[0n, 2n]]);
      expect(container.unmapDma(range(at, pages))).toBe(2n * PAGE);
      expect(mappingState(container)).toEqual(before);
    }
  },
);

test(
  'container.unmap-dma.several',
  'one range unmaps several mappings and the gaps between them, and reports the sum',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A4'] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const before = mappingState(container);
    mapAt(container, ram, [
      [0n, 2n],
      [2n, 1n],
      [5n, 3n],
      [16n, 4n],
    ]);
    expect(container.unmapDma(range(0n, 8n))).toBe(6n * PAGE);
    expect(container.unmapDma(range(8n, 8n))).toBe(0n);
    expect(container.unmapDma(range(16n, 4n))).toBe(4n * PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.unmap-dma.neighbours',
  'mappings that touch the range are not unmapped',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapAt(container, ram, [
      [0n, 2n],
      [2n, 2n],
      [4n, 1n],
      [5n, 1n],
    ]);
    expect(container.unmapDma(range(2n, 3n))).toBe(3n * PAGE);
    expect(container.unmapDma(range(2n, 3n))).toBe(0n);
    expect(container.unmapDma(range(0n, 2n))).toBe(2n * PAGE);
    expect(container.unmapDma(range(5n, 1n))).toBe(PAGE);
  },
);

for (const { name, at, pages, words } of [
  { name: 'first', at: 1n, pages: 9n, words: 'first' },
  { name: 'last', at: 0n, pages: 9n, words: 'last' },
] as const) {
  test(
    `container.unmap-dma.several.bisects-${name}`,
    `a range over several mappings that bisects the ${words} unmaps none of them`,
    { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
    ({ container, memory }) => {
      const ram = memory({ size: 2 * 4096, kind: '4k' });
      mapAt(container, ram, [
        [0n, 2n],
        [4n, 2n],
        [8n, 2n],
      ]);
      const before = mappingState(container);
      expect(container.tryUnmapDma(range(at, pages))).toFailWith('EINVAL');
      expect(mappingState(container)).toEqual(before);
      for (const start of [0n, 4n, 8n]) {
        expect(container.unmapDma(range(start, 2n))).toBe(2n * PAGE);
      }
    },
  );
}

test(
  'container.unmap-dma.frees-iova',
  'an IOVA that was unmapped can be mapped again, to other memory and with another size',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: REMOVE },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    for (const pages of [1n, 4n, 2n, 8n]) {
      mapAt(container, ram, [[0n, pages]]);
      expect(container.unmapDma(range(0n, pages))).toBe(pages * PAGE);
    }
  },
);
