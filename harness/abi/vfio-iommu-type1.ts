/** `<linux/vfio.h>`: a container under the Type1 IOMMU models. */
import { address, argsz, flags, struct, u32, u64, u8 } from './struct.ts';
import { vfio_info_cap_header, vfioIoctl } from './vfio-base.ts';

export const VFIO_IOMMU_INFO_PGSIZES = 1 << 0;
export const VFIO_IOMMU_INFO_CAPS = 1 << 1;

const INFO_FLAGS = { VFIO_IOMMU_INFO_PGSIZES, VFIO_IOMMU_INFO_CAPS };

export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
export const VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;

/** `iova_pgsizes` is a bitmap: bit n set means that mappings of 2^n bytes are possible. */
export const vfio_iommu_type1_info = struct('vfio_iommu_type1_info', {
  argsz,
  flags: flags(u32, INFO_FLAGS),
  iova_pgsizes: u64,
  cap_offset: u32,
  pad: u32,
});

/** Both ends belong to the range. */
export const vfio_iova_range = struct('vfio_iova_range', { start: u64, end: u64 });

export const vfio_iommu_type1_info_cap_iova_range = struct(
  'vfio_iommu_type1_info_cap_iova_range',
  { header: vfio_info_cap_header, nr_iovas: u32, reserved: u32 },
  {
    name: 'iova_ranges',
    element: vfio_iova_range,
    meaning: ({ nr_iovas }) => ({ element: vfio_iova_range, count: nr_iovas }),
  },
);

/** Its presence says that dirty pages can be tracked; sizes in bytes. */
export const vfio_iommu_type1_info_cap_migration = struct('vfio_iommu_type1_info_cap_migration', {
  header: vfio_info_cap_header,
  flags: u32,
  pgsize_bitmap: u64,
  max_dirty_bitmap_size: u64,
});

/** `avail`: how many mappings more are allowed. */
export const vfio_iommu_type1_info_dma_avail = struct('vfio_iommu_type1_info_dma_avail', {
  header: vfio_info_cap_header,
  avail: u32,
});

export const VFIO_IOMMU_GET_INFO = vfioIoctl(
  'VFIO_IOMMU_GET_INFO',
  12,
  'container',
  vfio_iommu_type1_info,
  {
    flags: INFO_FLAGS,
    capabilities: {
      VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
      VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
      VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    },
    capabilityStructs: {
      [VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE]: vfio_iommu_type1_info_cap_iova_range,
      [VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION]: vfio_iommu_type1_info_cap_migration,
      [VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL]: vfio_iommu_type1_info_dma_avail,
    },
  },
);

/** The device may read the memory. */
export const VFIO_DMA_MAP_FLAG_READ = 1 << 0;
/** The device may write to the memory. */
export const VFIO_DMA_MAP_FLAG_WRITE = 1 << 1;
/** Gives an existing mapping its new vaddr. */
export const VFIO_DMA_MAP_FLAG_VADDR = 1 << 2;

const MAP_FLAGS = { VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE, VFIO_DMA_MAP_FLAG_VADDR };

export const vfio_iommu_type1_dma_map = struct('vfio_iommu_type1_dma_map', {
  argsz,
  flags: flags(u32, MAP_FLAGS),
  vaddr: address,
  iova: u64,
  size: u64,
});

export const VFIO_IOMMU_MAP_DMA = vfioIoctl(
  'VFIO_IOMMU_MAP_DMA',
  13,
  'container',
  vfio_iommu_type1_dma_map,
  { flags: MAP_FLAGS },
);

/** `pgsize` and `size` in bytes, `size` that of the bitmap; `data` points to it, one bit a page. */
export const vfio_bitmap = struct('vfio_bitmap', { pgsize: u64, size: u64, data: address });

export const VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 1 << 0;
export const VFIO_DMA_UNMAP_FLAG_ALL = 1 << 1;
export const VFIO_DMA_UNMAP_FLAG_VADDR = 1 << 2;

const UNMAP_FLAGS = {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
};

/** `size` returns the number of bytes unmapped; behind it a struct vfio_bitmap with GET_DIRTY_BITMAP. */
export const vfio_iommu_type1_dma_unmap = struct(
  'vfio_iommu_type1_dma_unmap',
  { argsz, flags: flags(u32, UNMAP_FLAGS), iova: u64, size: u64 },
  {
    name: 'data',
    element: u8,
    meaning: ({ flags }) =>
      flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP ? { element: vfio_bitmap, count: 1 } : undefined,
  },
);

export const VFIO_IOMMU_UNMAP_DMA = vfioIoctl(
  'VFIO_IOMMU_UNMAP_DMA',
  14,
  'container',
  vfio_iommu_type1_dma_unmap,
  { flags: UNMAP_FLAGS },
);

/** Used by the first sPAPR model only. */
export const VFIO_IOMMU_ENABLE = vfioIoctl('VFIO_IOMMU_ENABLE', 15, 'container');
export const VFIO_IOMMU_DISABLE = vfioIoctl('VFIO_IOMMU_DISABLE', 16, 'container');

export const VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 1 << 0;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 1 << 1;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 1 << 2;

const DIRTY_FLAGS = {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
};

export const vfio_iommu_type1_dirty_bitmap_get = struct('vfio_iommu_type1_dirty_bitmap_get', {
  iova: u64,
  size: u64,
  bitmap: vfio_bitmap,
});

/** Behind it a struct vfio_iommu_type1_dirty_bitmap_get with GET_BITMAP. */
export const vfio_iommu_type1_dirty_bitmap = struct(
  'vfio_iommu_type1_dirty_bitmap',
  { argsz, flags: flags(u32, DIRTY_FLAGS) },
  {
    name: 'data',
    element: u8,
    meaning: ({ flags }) =>
      flags & VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP
        ? { element: vfio_iommu_type1_dirty_bitmap_get, count: 1 }
        : undefined,
  },
);

export const VFIO_IOMMU_DIRTY_PAGES = vfioIoctl(
  'VFIO_IOMMU_DIRTY_PAGES',
  17,
  'container',
  vfio_iommu_type1_dirty_bitmap,
  { flags: DIRTY_FLAGS },
);
