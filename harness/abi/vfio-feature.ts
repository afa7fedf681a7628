/** `<linux/vfio.h>`: VFIO_DEVICE_FEATURE and the data of each feature. */
import {
  address,
  argsz,
  bytes,
  fd,
  flags,
  oneOf,
  struct,
  u32,
  u64,
  u8,
  type Names,
  type Struct,
} from './struct.ts';
import { vfioIoctl } from './vfio-base.ts';
import {
  vfio_device_feature_mig_data_size,
  vfio_device_feature_mig_state,
  vfio_device_feature_migration,
} from './vfio-migration.ts';

export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
export const VFIO_DEVICE_FEATURE_GET = 1 << 16;
export const VFIO_DEVICE_FEATURE_SET = 1 << 17;
export const VFIO_DEVICE_FEATURE_PROBE = 1 << 18;

export const VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;
export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;
export const VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP = 7;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;
export const VFIO_DEVICE_FEATURE_MIG_DATA_SIZE = 9;
export const VFIO_DEVICE_FEATURE_BUS_MASTER = 10;
export const VFIO_DEVICE_FEATURE_DMA_BUF = 11;
export const VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 = 12;
export const VFIO_DEVICE_FEATURE_ZPCI_ERROR = 13;

/** The features by name. */
export const DEVICE_FEATURES = {
  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_BUS_MASTER,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_ZPCI_ERROR,
} satisfies Names;

export const vfio_device_low_power_entry_with_wakeup = struct(
  'vfio_device_low_power_entry_with_wakeup',
  { wakeup_eventfd: fd, reserved: u32 },
);

/** `ranges` points to `num_ranges` of struct vfio_device_feature_dma_logging_range. */
export const vfio_device_feature_dma_logging_control = struct(
  'vfio_device_feature_dma_logging_control',
  { page_size: u64, num_ranges: u32, __reserved: u32, ranges: address },
);

export const vfio_device_feature_dma_logging_range = struct(
  'vfio_device_feature_dma_logging_range',
  { iova: u64, length: u64 },
);

/** `bitmap` points to an array of u64, one bit a page; the kernel sets bits and clears none. */
export const vfio_device_feature_dma_logging_report = struct(
  'vfio_device_feature_dma_logging_report',
  { iova: u64, length: u64, page_size: u64, bitmap: address },
);

export const VFIO_DEVICE_FEATURE_CLEAR_MASTER = 0;
export const VFIO_DEVICE_FEATURE_SET_MASTER = 1;

export const vfio_device_feature_bus_master = struct('vfio_device_feature_bus_master', {
  op: oneOf(u32, { VFIO_DEVICE_FEATURE_CLEAR_MASTER, VFIO_DEVICE_FEATURE_SET_MASTER }),
});

export const vfio_region_dma_range = struct('vfio_region_dma_range', { offset: u64, length: u64 });

/** `open_flags` as for open(2); behind it `nr_ranges` slices of the region. */
export const vfio_device_feature_dma_buf = struct(
  'vfio_device_feature_dma_buf',
  { region_index: u32, open_flags: u32, flags: u32, nr_ranges: u32 },
  {
    name: 'dma_ranges',
    element: vfio_region_dma_range,
    meaning: ({ nr_ranges }) => ({ element: vfio_region_dma_range, count: nr_ranges }),
  },
);

/** `data` points to a buffer of the length that VFIO_DEVICE_INFO_CAP_ZPCI_BASE gives. */
export const vfio_device_feature_zpci_err = struct('vfio_device_feature_zpci_err', {
  data: address,
});

/** The 16 bytes of a VF token; the header gives them no struct. */
const VF_TOKEN = bytes(16);

/** What `data` holds for a feature; features that are not here have none. */
export const DEVICE_FEATURE_DATA: Readonly<Record<number, Struct<unknown>>> = {
  [VFIO_DEVICE_FEATURE_MIGRATION]: vfio_device_feature_migration,
  [VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE]: vfio_device_feature_mig_state,
  [VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP]: vfio_device_low_power_entry_with_wakeup,
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_START]: vfio_device_feature_dma_logging_control,
  [VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT]: vfio_device_feature_dma_logging_report,
  [VFIO_DEVICE_FEATURE_MIG_DATA_SIZE]: vfio_device_feature_mig_data_size,
  [VFIO_DEVICE_FEATURE_BUS_MASTER]: vfio_device_feature_bus_master,
  [VFIO_DEVICE_FEATURE_DMA_BUF]: vfio_device_feature_dma_buf,
  [VFIO_DEVICE_FEATURE_ZPCI_ERROR]: vfio_device_feature_zpci_err,
};

/** The low 16 bits of `flags` select the feature, whose data follow. */
export const vfio_device_feature = struct(
  'vfio_device_feature',
  {
    argsz,
    flags: {
      ...flags(u32, {
        VFIO_DEVICE_FEATURE_GET,
        VFIO_DEVICE_FEATURE_SET,
        VFIO_DEVICE_FEATURE_PROBE,
      }),
      values: DEVICE_FEATURES,
    },
  },
  {
    name: 'data',
    element: u8,
    meaning: ({ flags }) => {
      const feature = flags & VFIO_DEVICE_FEATURE_MASK;
      if (feature === VFIO_DEVICE_FEATURE_PCI_VF_TOKEN) return { element: VF_TOKEN, count: 1 };
      const data = DEVICE_FEATURE_DATA[feature];
      return data && { element: data, count: 1 };
    },
  },
);

export const VFIO_DEVICE_FEATURE = vfioIoctl(
  'VFIO_DEVICE_FEATURE',
  17,
  'device',
  vfio_device_feature,
  {
    flags: { VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_SET, VFIO_DEVICE_FEATURE_PROBE },
    values: DEVICE_FEATURES,
  },
);
