import {
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  test,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';

test(
  'container.map-dma.overlap',
  'a mapping that overlaps an existing one is refused and leaves it intact',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EEXIST')], source: DO_MAP, peer: ['A2'] },
  ({ container, memory }) => {
    const pages = memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: 2n * PAGE });
    for (const iova of [0xf000n, 0x10000n, 0x11000n]) {
      expect(
        container.tryMapDma({ iova, vaddr: pages.address, size: 2n * PAGE }),
      ).toFailWith('EEXIST');
    }
    expect(container.unmapDma({ iova: 0x10000n, size: 2n * PAGE })).toBe(2n * PAGE);
  },
);

test(
  'container.unmap-dma.nothing',
  'unmapping where nothing is mapped succeeds and reports zero bytes',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A2'] },
  ({ container }) => {
    const answer = container.tryUnmapDma({ iova: 0x10000n, size: PAGE });
    expect(answer).toSucceed(0);
    expect(answer.value).toBe(0n);
  },
);

test(
  'container.unmap-dma.split',
  'a v2 container does not split a mapping on unmap',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const pages = memory({ size: 2 * 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 2n * PAGE });
    expect(container.tryUnmapDma({ iova: 0n, size: PAGE })).toFailWith('EINVAL');
    expect(container.tryUnmapDma({ iova: PAGE, size: PAGE })).toFailWith('EINVAL');
    expect(container.unmapDma({ iova: 0n, size: 2n * PAGE })).toBe(2n * PAGE);
  },
);
