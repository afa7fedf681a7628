/** `<linux/vfio.h>`: a container under the sPAPR TCE models (POWER servers), and EEH. */
import { address, argsz, flags, oneOf, struct, u32, u64 } from './struct.ts';
import { vfioIoctl } from './vfio-base.ts';

export const VFIO_IOMMU_SPAPR_INFO_DDW = 1 << 0;

/** `pgsizes` is a bitmap of page sizes. */
export const vfio_iommu_spapr_tce_ddw_info = struct('vfio_iommu_spapr_tce_ddw_info', {
  pgsizes: u64,
  max_dynamic_windows_supported: u32,
  levels: u32,
});

/** `ddw` counts only with VFIO_IOMMU_SPAPR_INFO_DDW; start and size in bytes on the PCI bus. */
export const vfio_iommu_spapr_tce_info = struct('vfio_iommu_spapr_tce_info', {
  argsz,
  flags: flags(u32, { VFIO_IOMMU_SPAPR_INFO_DDW }),
  dma32_window_start: u32,
  dma32_window_size: u32,
  ddw: vfio_iommu_spapr_tce_ddw_info,
});

/** The number of VFIO_IOMMU_GET_INFO; the model of the container decides which it is. */
export const VFIO_IOMMU_SPAPR_TCE_GET_INFO = vfioIoctl(
  'VFIO_IOMMU_SPAPR_TCE_GET_INFO',
  12,
  'container',
  vfio_iommu_spapr_tce_info,
  { flags: { VFIO_IOMMU_SPAPR_INFO_DDW } },
);

export const VFIO_EEH_PE_DISABLE = 0;
export const VFIO_EEH_PE_ENABLE = 1;
export const VFIO_EEH_PE_UNFREEZE_IO = 2;
export const VFIO_EEH_PE_UNFREEZE_DMA = 3;
export const VFIO_EEH_PE_GET_STATE = 4;
export const VFIO_EEH_PE_RESET_DEACTIVATE = 5;
export const VFIO_EEH_PE_RESET_HOT = 6;
export const VFIO_EEH_PE_RESET_FUNDAMENTAL = 7;
export const VFIO_EEH_PE_CONFIGURE = 8;
export const VFIO_EEH_PE_INJECT_ERR = 9;

const EEH_OPERATIONS = {
  VFIO_EEH_PE_DISABLE,
  VFIO_EEH_PE_ENABLE,
  VFIO_EEH_PE_UNFREEZE_IO,
  VFIO_EEH_PE_UNFREEZE_DMA,
  VFIO_EEH_PE_GET_STATE,
  VFIO_EEH_PE_RESET_DEACTIVATE,
  VFIO_EEH_PE_RESET_HOT,
  VFIO_EEH_PE_RESET_FUNDAMENTAL,
  VFIO_EEH_PE_CONFIGURE,
  VFIO_EEH_PE_INJECT_ERR,
};

/** Results of VFIO_EEH_PE_GET_STATE. */
export const VFIO_EEH_PE_STATE_NORMAL = 0;
export const VFIO_EEH_PE_STATE_RESET = 1;
export const VFIO_EEH_PE_STATE_STOPPED = 2;
export const VFIO_EEH_PE_STATE_STOPPED_DMA = 4;
export const VFIO_EEH_PE_STATE_UNAVAIL = 5;

export const vfio_eeh_pe_err = struct('vfio_eeh_pe_err', {
  type: u32,
  func: u32,
  addr: u64,
  mask: u64,
});

/** `err` counts only for VFIO_EEH_PE_INJECT_ERR. */
export const vfio_eeh_pe_op = struct('vfio_eeh_pe_op', {
  argsz,
  flags: u32,
  op: oneOf(u32, EEH_OPERATIONS),
  err: vfio_eeh_pe_err,
});

export const VFIO_EEH_PE_OP = vfioIoctl('VFIO_EEH_PE_OP', 21, 'container', vfio_eeh_pe_op, {
  values: EEH_OPERATIONS,
});

export const vfio_iommu_spapr_register_memory = struct('vfio_iommu_spapr_register_memory', {
  argsz,
  flags: u32,
  vaddr: address,
  size: u64,
});

export const VFIO_IOMMU_SPAPR_REGISTER_MEMORY = vfioIoctl(
  'VFIO_IOMMU_SPAPR_REGISTER_MEMORY',
  17,
  'container',
  vfio_iommu_spapr_register_memory,
);

export const VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY = vfioIoctl(
  'VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY',
  18,
  'container',
  vfio_iommu_spapr_register_memory,
);

/** `window_size` in bytes; `start_addr` returns where the new window lies on the PCI bus. */
export const vfio_iommu_spapr_tce_create = struct('vfio_iommu_spapr_tce_create', {
  argsz,
  flags: u32,
  page_shift: u32,
  __resv1: u32,
  window_size: u64,
  levels: u32,
  __resv2: u32,
  start_addr: u64,
});

export const VFIO_IOMMU_SPAPR_TCE_CREATE = vfioIoctl(
  'VFIO_IOMMU_SPAPR_TCE_CREATE',
  19,
  'container',
  vfio_iommu_spapr_tce_create,
);

export const vfio_iommu_spapr_tce_remove = struct('vfio_iommu_spapr_tce_remove', {
  argsz,
  flags: u32,
  start_addr: u64,
});

export const VFIO_IOMMU_SPAPR_TCE_REMOVE = vfioIoctl(
  'VFIO_IOMMU_SPAPR_TCE_REMOVE',
  20,
  'container',
  vfio_iommu_spapr_tce_remove,
);
