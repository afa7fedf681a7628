/** `<linux/vfio.h>`: ioctls of a container (/dev/vfio/vfio) before an IOMMU model is chosen. */
import { vfioIoctl } from './vfio-base.ts';

export const VFIO_TYPE1_IOMMU = 1;
export const VFIO_SPAPR_TCE_IOMMU = 2;
export const VFIO_TYPE1v2_IOMMU = 3;
export const VFIO_DMA_CC_IOMMU = 4;
export const VFIO_EEH = 5;
/** Was VFIO_TYPE1_NESTING_IOMMU; newer kernels do not offer it. */
export const __VFIO_RESERVED_TYPE1_NESTING_IOMMU = 6;
export const VFIO_SPAPR_TCE_v2_IOMMU = 7;
export const VFIO_NOIOMMU_IOMMU = 8;
export const VFIO_UNMAP_ALL = 9;
export const VFIO_UPDATE_VADDR = 10;

const MODELS = {
  VFIO_TYPE1_IOMMU,
  VFIO_SPAPR_TCE_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  __VFIO_RESERVED_TYPE1_NESTING_IOMMU,
  VFIO_SPAPR_TCE_v2_IOMMU,
  VFIO_NOIOMMU_IOMMU,
};

export const VFIO_GET_API_VERSION = vfioIoctl('VFIO_GET_API_VERSION', 0, 'container');

/** The extension by value; > 0 means supported. */
export const VFIO_CHECK_EXTENSION = vfioIoctl('VFIO_CHECK_EXTENSION', 1, 'container', undefined, {
  argument: 'value',
  values: { ...MODELS, VFIO_DMA_CC_IOMMU, VFIO_EEH, VFIO_UNMAP_ALL, VFIO_UPDATE_VADDR },
});

/** The model by value; needs a group in the container. */
export const VFIO_SET_IOMMU = vfioIoctl('VFIO_SET_IOMMU', 2, 'container', undefined, {
  argument: 'value',
  values: MODELS,
});
