/** `<linux/vfio.h>`: regions of a device, their types and capabilities. */
import { argsz, flags, oneOf, struct, u32, u64 } from './struct.ts';
import { vfio_info_cap_header, vfioIoctl } from './vfio-base.ts';

export const VFIO_REGION_INFO_FLAG_READ = 1 << 0;
export const VFIO_REGION_INFO_FLAG_WRITE = 1 << 1;
export const VFIO_REGION_INFO_FLAG_MMAP = 1 << 2;
export const VFIO_REGION_INFO_FLAG_CAPS = 1 << 3;

const REGION_FLAGS = {
  VFIO_REGION_INFO_FLAG_READ,
  VFIO_REGION_INFO_FLAG_WRITE,
  VFIO_REGION_INFO_FLAG_MMAP,
  VFIO_REGION_INFO_FLAG_CAPS,
};

/** Region indexes of vfio-pci; indexes from VFIO_PCI_NUM_REGIONS on say what they are in a capability. */
export const VFIO_PCI_BAR0_REGION_INDEX = 0;
export const VFIO_PCI_BAR1_REGION_INDEX = 1;
export const VFIO_PCI_BAR2_REGION_INDEX = 2;
export const VFIO_PCI_BAR3_REGION_INDEX = 3;
export const VFIO_PCI_BAR4_REGION_INDEX = 4;
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
export const VFIO_PCI_ROM_REGION_INDEX = 6;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_VGA_REGION_INDEX = 8;
export const VFIO_PCI_NUM_REGIONS = 9;

/** The region indexes of vfio-pci by name. */
export const PCI_REGION_INDEXES = {
  VFIO_PCI_BAR0_REGION_INDEX,
  VFIO_PCI_BAR1_REGION_INDEX,
  VFIO_PCI_BAR2_REGION_INDEX,
  VFIO_PCI_BAR3_REGION_INDEX,
  VFIO_PCI_BAR4_REGION_INDEX,
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_ROM_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_VGA_REGION_INDEX,
};

export const VFIO_CCW_CONFIG_REGION_INDEX = 0;
export const VFIO_CCW_NUM_REGIONS = 1;

export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
export const VFIO_REGION_INFO_CAP_TYPE = 2;
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;
/** Deprecated: no kernel since 5.13 provides it. */
export const VFIO_REGION_INFO_CAP_NVLINK2_SSATGT = 4;
/** Deprecated: no kernel since 5.13 provides it. */
export const VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD = 5;

/** Bit 31 of `type`; the low 16 bits are then the PCI vendor. Unsigned, as the field is read. */
export const VFIO_REGION_TYPE_PCI_VENDOR_TYPE = 0x80000000;
export const VFIO_REGION_TYPE_PCI_VENDOR_MASK = 0xffff;
export const VFIO_REGION_TYPE_GFX = 1;
export const VFIO_REGION_TYPE_CCW = 2;
export const VFIO_REGION_TYPE_MIGRATION_DEPRECATED = 3;

/** Subtypes of vendor 0x8086. */
export const VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION = 1;
export const VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG = 2;
export const VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG = 3;
/** Subtype of vendor 0x10de; deprecated. */
export const VFIO_REGION_SUBTYPE_NVIDIA_NVLINK2_RAM = 1;
/** Subtype of vendor 0x1014; deprecated. */
export const VFIO_REGION_SUBTYPE_IBM_NVLINK2_ATSD = 1;
export const VFIO_REGION_SUBTYPE_GFX_EDID = 1;
export const VFIO_REGION_SUBTYPE_CCW_ASYNC_CMD = 1;
export const VFIO_REGION_SUBTYPE_CCW_SCHIB = 2;
export const VFIO_REGION_SUBTYPE_CCW_CRW = 3;
export const VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED = 1;

export const VFIO_DEVICE_GFX_LINK_STATE_UP = 1;
export const VFIO_DEVICE_GFX_LINK_STATE_DOWN = 2;

/** `offset` is where the region begins in the device fd: the position for pread, pwrite and mmap. */
export const vfio_region_info = struct('vfio_region_info', {
  argsz,
  flags: flags(u32, REGION_FLAGS),
  index: oneOf(u32, PCI_REGION_INDEXES),
  cap_offset: u32,
  size: u64,
  offset: u64,
});

export const vfio_region_sparse_mmap_area = struct('vfio_region_sparse_mmap_area', {
  offset: u64,
  size: u64,
});

/** Only these parts of the region may be mapped. */
export const vfio_region_info_cap_sparse_mmap = struct(
  'vfio_region_info_cap_sparse_mmap',
  { header: vfio_info_cap_header, nr_areas: u32, reserved: u32 },
  {
    name: 'areas',
    element: vfio_region_sparse_mmap_area,
    meaning: ({ nr_areas }) => ({ element: vfio_region_sparse_mmap_area, count: nr_areas }),
  },
);

export const vfio_region_info_cap_type = struct('vfio_region_info_cap_type', {
  header: vfio_info_cap_header,
  type: u32,
  subtype: u32,
});

export const vfio_region_info_cap_nvlink2_ssatgt = struct('vfio_region_info_cap_nvlink2_ssatgt', {
  header: vfio_info_cap_header,
  tgt: u64,
});

export const vfio_region_info_cap_nvlink2_lnkspd = struct('vfio_region_info_cap_nvlink2_lnkspd', {
  header: vfio_info_cap_header,
  link_speed: u32,
  __pad: u32,
});

/** The content of a VFIO_REGION_SUBTYPE_GFX_EDID region. */
export const vfio_region_gfx_edid = struct('vfio_region_gfx_edid', {
  edid_offset: u32,
  edid_max_size: u32,
  edid_size: u32,
  max_xres: u32,
  max_yres: u32,
  link_state: oneOf(u32, { VFIO_DEVICE_GFX_LINK_STATE_UP, VFIO_DEVICE_GFX_LINK_STATE_DOWN }),
});

export const VFIO_DEVICE_GET_REGION_INFO = vfioIoctl(
  'VFIO_DEVICE_GET_REGION_INFO',
  8,
  'device',
  vfio_region_info,
  {
    flags: REGION_FLAGS,
    values: PCI_REGION_INDEXES,
    capabilities: {
      VFIO_REGION_INFO_CAP_SPARSE_MMAP,
      VFIO_REGION_INFO_CAP_TYPE,
      VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
      VFIO_REGION_INFO_CAP_NVLINK2_SSATGT,
      VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD,
    },
    capabilityStructs: {
      [VFIO_REGION_INFO_CAP_SPARSE_MMAP]: vfio_region_info_cap_sparse_mmap,
      [VFIO_REGION_INFO_CAP_TYPE]: vfio_region_info_cap_type,
      // Its presence is all it says.
      [VFIO_REGION_INFO_CAP_MSIX_MAPPABLE]: vfio_info_cap_header,
      [VFIO_REGION_INFO_CAP_NVLINK2_SSATGT]: vfio_region_info_cap_nvlink2_ssatgt,
      [VFIO_REGION_INFO_CAP_NVLINK2_LNKSPD]: vfio_region_info_cap_nvlink2_lnkspd,
    },
  },
);
