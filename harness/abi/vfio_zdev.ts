/** `<linux/vfio_zdev.h>`: capabilities of VFIO_DEVICE_GET_INFO on s390. */
import { flags, struct, u16, u32, u64, u8 } from './struct.ts';
import { vfio_info_cap_header } from './vfio-base.ts';

export const VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH = 1;

/** Version 1 ends before `fh`, version 2 before `ccdf_err_length`. */
export const vfio_device_info_cap_zpci_base = struct('vfio_device_info_cap_zpci_base', {
  header: vfio_info_cap_header,
  start_dma: u64,
  end_dma: u64,
  pchid: u16,
  vfn: u16,
  fmb_length: u16,
  pft: u8,
  gid: u8,
  fh: u32,
  ccdf_err_length: u32,
});

/** Version 1 ends before `reserved`. */
export const vfio_device_info_cap_zpci_group = struct('vfio_device_info_cap_zpci_group', {
  header: vfio_info_cap_header,
  dasm: u64,
  msi_addr: u64,
  flags: flags(u64, { VFIO_DEVICE_INFO_ZPCI_FLAG_REFRESH }),
  mui: u16,
  noi: u16,
  maxstbl: u16,
  version: u8,
  reserved: u8,
  imaxstbl: u16,
});

export const vfio_device_info_cap_zpci_util = struct(
  'vfio_device_info_cap_zpci_util',
  { header: vfio_info_cap_header, size: u32 },
  { name: 'util_str', element: u8, meaning: ({ size }) => ({ element: u8, count: size }) },
);

export const vfio_device_info_cap_zpci_pfip = struct(
  'vfio_device_info_cap_zpci_pfip',
  { header: vfio_info_cap_header, size: u32 },
  { name: 'pfip', element: u8, meaning: ({ size }) => ({ element: u8, count: size }) },
);
