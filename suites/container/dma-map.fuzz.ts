import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  fuzz,
  type FuzzOptions,
} from '../../harness/testing/index.ts';
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
  longest: 1000,
} satisfies Partial<FuzzOptions<DmaRun>>;

fuzz<DmaRun>(
  'container.fuzz.dma-map',
  'whatever is mapped and unmapped in a TYPE1v2 container, the answers, the accounts and what the device sees fit',
  {
    ...COMMON,
    device: 'nvme',
    programs: 6,
    stage: (context) => new DmaStage(context, VFIO_TYPE1v2_IOMMU),
  },
);

fuzz<DmaRun>(
  'container.fuzz.dma-map-v1',
  'whatever is mapped and unmapped in a TYPE1 container, the answers and the accounts fit',
  {
    ...COMMON,
    programs: 6,
    stage: (context) => new DmaStage(context, VFIO_TYPE1_IOMMU),
  },
);
