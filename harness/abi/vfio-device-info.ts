/** `<linux/vfio.h>`: VFIO_DEVICE_GET_INFO and its capabilities, VFIO_DEVICE_RESET. */
import { argsz, flags, struct, u32 } from './struct.ts';
import { vfio_info_cap_header, vfioIoctl } from './vfio-base.ts';
import {
  vfio_device_info_cap_zpci_base,
  vfio_device_info_cap_zpci_group,
  vfio_device_info_cap_zpci_pfip,
  vfio_device_info_cap_zpci_util,
} from './vfio_zdev.ts';

export const VFIO_DEVICE_FLAGS_RESET = 1 << 0;
export const VFIO_DEVICE_FLAGS_PCI = 1 << 1;
export const VFIO_DEVICE_FLAGS_PLATFORM = 1 << 2;
export const VFIO_DEVICE_FLAGS_AMBA = 1 << 3;
export const VFIO_DEVICE_FLAGS_CCW = 1 << 4;
export const VFIO_DEVICE_FLAGS_AP = 1 << 5;
export const VFIO_DEVICE_FLAGS_FSL_MC = 1 << 6;
export const VFIO_DEVICE_FLAGS_CAPS = 1 << 7;
export const VFIO_DEVICE_FLAGS_CDX = 1 << 8;

const DEVICE_FLAGS = {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_PLATFORM,
  VFIO_DEVICE_FLAGS_AMBA,
  VFIO_DEVICE_FLAGS_CCW,
  VFIO_DEVICE_FLAGS_AP,
  VFIO_DEVICE_FLAGS_FSL_MC,
  VFIO_DEVICE_FLAGS_CAPS,
  VFIO_DEVICE_FLAGS_CDX,
};

/** Values of a mediated device type's `device_api` attribute. */
export const VFIO_DEVICE_API_PCI_STRING = 'vfio-pci';
export const VFIO_DEVICE_API_PLATFORM_STRING = 'vfio-platform';
export const VFIO_DEVICE_API_AMBA_STRING = 'vfio-amba';
export const VFIO_DEVICE_API_CCW_STRING = 'vfio-ccw';
export const VFIO_DEVICE_API_AP_STRING = 'vfio-ap';

export const VFIO_DEVICE_INFO_CAP_ZPCI_BASE = 1;
export const VFIO_DEVICE_INFO_CAP_ZPCI_GROUP = 2;
export const VFIO_DEVICE_INFO_CAP_ZPCI_UTIL = 3;
export const VFIO_DEVICE_INFO_CAP_ZPCI_PFIP = 4;
export const VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP = 5;

export const VFIO_PCI_ATOMIC_COMP32 = 1 << 0;
export const VFIO_PCI_ATOMIC_COMP64 = 1 << 1;
export const VFIO_PCI_ATOMIC_COMP128 = 1 << 2;

export const vfio_device_info = struct('vfio_device_info', {
  argsz,
  flags: flags(u32, DEVICE_FLAGS),
  num_regions: u32,
  num_irqs: u32,
  cap_offset: u32,
  pad: u32,
});

export const vfio_device_info_cap_pci_atomic_comp = struct('vfio_device_info_cap_pci_atomic_comp', {
  header: vfio_info_cap_header,
  flags: flags(u32, { VFIO_PCI_ATOMIC_COMP32, VFIO_PCI_ATOMIC_COMP64, VFIO_PCI_ATOMIC_COMP128 }),
  reserved: u32,
});

export const VFIO_DEVICE_GET_INFO = vfioIoctl(
  'VFIO_DEVICE_GET_INFO',
  7,
  'device',
  vfio_device_info,
  {
    flags: DEVICE_FLAGS,
    capabilities: {
      VFIO_DEVICE_INFO_CAP_ZPCI_BASE,
      VFIO_DEVICE_INFO_CAP_ZPCI_GROUP,
      VFIO_DEVICE_INFO_CAP_ZPCI_UTIL,
      VFIO_DEVICE_INFO_CAP_ZPCI_PFIP,
      VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP,
    },
    capabilityStructs: {
      [VFIO_DEVICE_INFO_CAP_ZPCI_BASE]: vfio_device_info_cap_zpci_base,
      [VFIO_DEVICE_INFO_CAP_ZPCI_GROUP]: vfio_device_info_cap_zpci_group,
      [VFIO_DEVICE_INFO_CAP_ZPCI_UTIL]: vfio_device_info_cap_zpci_util,
      [VFIO_DEVICE_INFO_CAP_ZPCI_PFIP]: vfio_device_info_cap_zpci_pfip,
      [VFIO_DEVICE_INFO_CAP_PCI_ATOMIC_COMP]: vfio_device_info_cap_pci_atomic_comp,
    },
  },
);

export const VFIO_DEVICE_RESET = vfioIoctl('VFIO_DEVICE_RESET', 11, 'device');
