/** `<linux/vfio.h>`: hot reset of PCI devices, ioeventfds, and the plane of a graphics device. */
import { argsz, fd, flags, overlaying, struct, u16, u32, u64, u8 } from './struct.ts';
import { vfioIoctl } from './vfio-base.ts';

export const VFIO_PCI_DEVID_OWNED = 0;
/** -1 in the header; unsigned here, as `devid` is read. */
export const VFIO_PCI_DEVID_NOT_OWNED = 0xffffffff;

export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID = 1 << 0;
export const VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED = 1 << 1;

const HOT_RESET_FLAGS = { VFIO_PCI_HOT_RESET_FLAG_DEV_ID, VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED };

export const vfio_pci_dependent_device = struct('vfio_pci_dependent_device', {
  group_id: u32,
  devid: overlaying('group_id', u32),
  segment: u16,
  bus: u8,
  devfn: u8,
});

export const vfio_pci_hot_reset_info = struct(
  'vfio_pci_hot_reset_info',
  { argsz, flags: flags(u32, HOT_RESET_FLAGS), count: u32 },
  {
    name: 'devices',
    element: vfio_pci_dependent_device,
    meaning: ({ count }) => ({ element: vfio_pci_dependent_device, count }),
  },
);

/** Behind it `count` fds (s32) of the groups that own the affected devices. */
export const vfio_pci_hot_reset = struct(
  'vfio_pci_hot_reset',
  { argsz, flags: u32, count: u32 },
  { name: 'group_fds', element: fd, meaning: ({ count }) => ({ element: fd, count }) },
);

export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = vfioIoctl(
  'VFIO_DEVICE_GET_PCI_HOT_RESET_INFO',
  12,
  'device',
  vfio_pci_hot_reset_info,
  { flags: HOT_RESET_FLAGS },
);

export const VFIO_DEVICE_PCI_HOT_RESET = vfioIoctl(
  'VFIO_DEVICE_PCI_HOT_RESET',
  13,
  'device',
  vfio_pci_hot_reset,
);

export const VFIO_GFX_PLANE_TYPE_PROBE = 1 << 0;
export const VFIO_GFX_PLANE_TYPE_DMABUF = 1 << 1;
export const VFIO_GFX_PLANE_TYPE_REGION = 1 << 2;

const PLANE_FLAGS = {
  VFIO_GFX_PLANE_TYPE_PROBE,
  VFIO_GFX_PLANE_TYPE_DMABUF,
  VFIO_GFX_PLANE_TYPE_REGION,
};

export const vfio_device_gfx_plane_info = struct('vfio_device_gfx_plane_info', {
  argsz,
  flags: flags(u32, PLANE_FLAGS),
  drm_plane_type: u32,
  drm_format: u32,
  drm_format_mod: u64,
  width: u32,
  height: u32,
  stride: u32,
  size: u32,
  x_pos: u32,
  y_pos: u32,
  x_hot: u32,
  y_hot: u32,
  region_index: u32,
  dmabuf_id: overlaying('region_index', u32),
  reserved: u32,
});

export const VFIO_DEVICE_QUERY_GFX_PLANE = vfioIoctl(
  'VFIO_DEVICE_QUERY_GFX_PLANE',
  14,
  'device',
  vfio_device_gfx_plane_info,
  { flags: PLANE_FLAGS },
);

/** A pointer to the `dmabuf_id` (u32); gives a dma-buf fd. */
export const VFIO_DEVICE_GET_GFX_DMABUF = vfioIoctl(
  'VFIO_DEVICE_GET_GFX_DMABUF',
  15,
  'device',
  undefined,
  { argument: 'u32-pointer', returns: 'dmabuf' },
);

export const VFIO_DEVICE_IOEVENTFD_8 = 1 << 0;
export const VFIO_DEVICE_IOEVENTFD_16 = 1 << 1;
export const VFIO_DEVICE_IOEVENTFD_32 = 1 << 2;
export const VFIO_DEVICE_IOEVENTFD_64 = 1 << 3;
export const VFIO_DEVICE_IOEVENTFD_SIZE_MASK = 0xf;

const IOEVENTFD_FLAGS = {
  VFIO_DEVICE_IOEVENTFD_8,
  VFIO_DEVICE_IOEVENTFD_16,
  VFIO_DEVICE_IOEVENTFD_32,
  VFIO_DEVICE_IOEVENTFD_64,
};

/** `offset` counts in the device fd; `fd` -1 takes the assignment back. */
export const vfio_device_ioeventfd = struct('vfio_device_ioeventfd', {
  argsz,
  flags: flags(u32, IOEVENTFD_FLAGS),
  offset: u64,
  data: u64,
  fd,
  reserved: u32,
});

export const VFIO_DEVICE_IOEVENTFD = vfioIoctl(
  'VFIO_DEVICE_IOEVENTFD',
  16,
  'device',
  vfio_device_ioeventfd,
  { flags: IOEVENTFD_FLAGS },
);
