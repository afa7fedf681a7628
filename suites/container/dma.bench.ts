import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  bench,
  vfio_iommu_type1_dma_map,
  vfio_iommu_type1_dma_unmap,
} from '../../harness/testing/index.ts';

const IOVA = 0x4000_0000n;

bench(
  'container.dma.4k.4KiB.warm',
  'MAP_DMA and UNMAP_DMA of one small page',
  { operations: ['map', 'unmap'], parameters: { size: 4096, pages: '4k' }, units: { pages: 1 } },
  ({ container, memory }, measure) => {
    const pages = memory({ size: 4096, kind: '4k' });
    measure(
      (program, timed) => {
        const map = program.data(
          vfio_iommu_type1_dma_map.encode({
            argsz: vfio_iommu_type1_dma_map.size,
            flags: VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
            vaddr: pages.address,
            iova: IOVA,
            size: 4096n,
          }),
        );
        const unmap = program.data(
          vfio_iommu_type1_dma_unmap.encode({
            argsz: vfio_iommu_type1_dma_unmap.size,
            flags: 0,
            iova: IOVA,
            size: 4096n,
          }),
        );
        timed('map', program.syscall('ioctl', container.fd, VFIO_IOMMU_MAP_DMA.request, map));
        timed('unmap', program.syscall('ioctl', container.fd, VFIO_IOMMU_UNMAP_DMA.request, unmap));
      },
      { reference: { operation: 'map', args: ['map-dma', 4096, '4k'], fds: [container.fd] } },
    );
  },
);
