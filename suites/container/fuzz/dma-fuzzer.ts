import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  type FuzzOptions,
} from '../../../harness/testing/index.ts';
import { DMA_KINDS } from './dma-kinds.ts';
import { DmaStage, type DmaRun } from './dma-stage.ts';

const COMMON = {
  covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_IOMMU_DIRTY_PAGES, VFIO_IOMMU_GET_INFO],
  source: [
    'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()',
    'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()',
    'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_dirty_pages()',
  ],
  kinds: DMA_KINDS,
  longest: 6000,
  programs: 3,
} satisfies Partial<FuzzOptions<DmaRun>>;

/** A TYPE1v2 container, with a device that looks at what is mapped. */
export const DMA_FUZZER: FuzzOptions<DmaRun> = {
  ...COMMON,
  device: 'nvme',
  stage: (context) => new DmaStage(context, VFIO_TYPE1v2_IOMMU),
};

/** A TYPE1 container. */
export const DMA_FUZZER_V1: FuzzOptions<DmaRun> = {
  ...COMMON,
  stage: (context) => new DmaStage(context, VFIO_TYPE1_IOMMU),
};
