import {
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  mappingState,
  test,
} from '../../../harness/testing/index.ts';
import { PAGE, mapExtents, range } from '../page-extents.ts';

const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const REMOVE = 'drivers/vfio/vfio_iommu_type1.c vfio_remove_dma()';

test(
  'container.unmap-dma.split',
  'a v2 container does not split a mapping: each range that bisects it is refused and it stays whole',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 4]]);
    const before = mappingState(container);
    for (const [at, pages] of [
      [0, 1],
      [0, 3],
      [1, 1],
      [1, 2],
      [1, 3],
      [3, 1],
      [-2, 3],
      [-2, 5],
      [3, 4],
      [1, 8],
    ] as const) {
      const answer = container.tryUnmapDma(range(at, pages));
      expect(answer).toFailWith('EINVAL');
      expect(answer.value).toBe(range(at, pages).size);
    }
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(range(0, 4))).toBe(4n * PAGE);
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
      [0, 8],
      [-4, 6],
      [-4, 10],
    ] as const) {
      mapExtents(container, ram, [[0, 2]]);
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
    mapExtents(container, ram, [
      [0, 2],
      [2, 1],
      [5, 3],
      [16, 4],
    ]);
    expect(container.unmapDma(range(0, 8))).toBe(6n * PAGE);
    expect(container.unmapDma(range(8, 8))).toBe(0n);
    expect(container.unmapDma(range(16, 4))).toBe(4n * PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.unmap-dma.neighbours',
  'mappings that touch the range are not unmapped',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapExtents(container, ram, [
      [0, 2],
      [2, 2],
      [4, 1],
      [5, 1],
    ]);
    expect(container.unmapDma(range(2, 3))).toBe(3n * PAGE);
    expect(container.unmapDma(range(2, 3))).toBe(0n);
    expect(container.unmapDma(range(0, 2))).toBe(2n * PAGE);
    expect(container.unmapDma(range(5, 1))).toBe(PAGE);
  },
);

for (const { name, at, pages, words } of [
  { name: 'first', at: 1, pages: 9, words: 'first' },
  { name: 'last', at: 0, pages: 9, words: 'last' },
] as const) {
  test(
    `container.unmap-dma.several.bisects-${name}`,
    `a range over several mappings that bisects the ${words} unmaps none of them`,
    { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
    ({ container, memory }) => {
      const ram = memory({ size: 2 * 4096, kind: '4k' });
      mapExtents(container, ram, [
        [0, 2],
        [4, 2],
        [8, 2],
      ]);
      const before = mappingState(container);
      expect(container.tryUnmapDma(range(at, pages))).toFailWith('EINVAL');
      expect(mappingState(container)).toEqual(before);
      for (const start of [0, 4, 8]) {
        expect(container.unmapDma(range(start, 2))).toBe(2n * PAGE);
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
    for (const pages of [1, 4, 2, 8]) {
      const all = range(0, pages);
      mapExtents(container, ram, [[0, pages]]);
      expect(container.unmapDma(all)).toBe(all.size);
    }
  },
);
