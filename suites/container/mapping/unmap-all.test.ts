import {
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  expect,
  mappingState,
  test,
} from '../../../harness/testing/index.ts';
import { BASE, PAGE, mapExtents } from '../page-extents.ts';

const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';

for (const [name, type] of [
  ['v1', VFIO_TYPE1_IOMMU],
  ['v2', 3],
] as const) {
  test(
    `container.unmap-all.${name}`,
    `VFIO_DMA_UNMAP_FLAG_ALL removes every mapping of a ${name} container and reports the sum`,
    {
      covers: [VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_ALL')],
      source: DO_UNMAP,
      peer: ['S17'],
    },
    ({ containerOfType, memory }) => {
      const container = containerOfType(type);
      const ram = memory({ size: 4 * 4096, kind: '4k' });
      const empty = mappingState(container);
      const ends = container.iovaRanges();
      const last = ends.at(-1)!.end + 1n - PAGE;
      mapExtents(container, ram, [
        [0, 4],
        [4, 1],
        [99, 2],
      ]);
      container.mapDma({ iova: ends[0]!.start, vaddr: ram.address, size: PAGE });
      container.mapDma({ iova: last, vaddr: ram.address, size: PAGE });
      const answer = container.tryUnmapDma({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL });
      expect(answer).toSucceed(0);
      expect(answer.value).toBe(9n * PAGE);
      expect(mappingState(container)).toEqual(empty);
      const again = { iova: last, vaddr: ram.address, size: PAGE };
      expect(container.tryMapDma(again)).toSucceed(0);
    },
  );
}

test(
  'container.unmap-all.nothing',
  'VFIO_DMA_UNMAP_FLAG_ALL of an empty container succeeds and reports zero bytes',
  { covers: [VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_ALL')], source: DO_UNMAP },
  ({ container }) => {
    const answer = container.tryUnmapDma({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL });
    expect(answer).toSucceed(0);
    expect(answer.value).toBe(0n);
  },
);

test(
  'container.unmap-all.takes-no-range',
  'VFIO_DMA_UNMAP_FLAG_ALL with an iova or a size is refused and nothing is unmapped',
  {
    covers: [
      VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_ALL'),
      VFIO_IOMMU_UNMAP_DMA.fails('EINVAL'),
    ],
    source: DO_UNMAP,
  },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 1]]);
    const before = mappingState(container);
    for (const wrong of [
      { iova: 0n, size: PAGE },
      { iova: BASE, size: 0n },
      { iova: BASE, size: PAGE },
      { iova: 0n, size: 1n },
      { iova: 0n, size: (1n << 64n) - 1n },
    ]) {
      const answer = container.tryUnmapDma({ ...wrong, flags: VFIO_DMA_UNMAP_FLAG_ALL });
      expect(answer).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
  },
);
