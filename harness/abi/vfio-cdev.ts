/** `<linux/vfio.h>`: a device opened by its own node (/dev/vfio/devices/vfioN) and IOMMUFD. */
import { address, argsz, fd, flags, struct, u32 } from './struct.ts';
import { vfioIoctl } from './vfio-base.ts';

export const VFIO_DEVICE_BIND_FLAG_TOKEN = 1 << 0;
export const VFIO_DEVICE_ATTACH_PASID = 1 << 0;
export const VFIO_DEVICE_DETACH_PASID = 1 << 0;

/** `token_uuid_ptr` points to 16 bytes and counts only with VFIO_DEVICE_BIND_FLAG_TOKEN. */
export const vfio_device_bind_iommufd = struct('vfio_device_bind_iommufd', {
  argsz,
  flags: flags(u32, { VFIO_DEVICE_BIND_FLAG_TOKEN }),
  iommufd: fd,
  out_devid: u32,
  token_uuid_ptr: address,
});

/** `pt_id` is an IOAS or a hwpt, and on return the hwpt in use. */
export const vfio_device_attach_iommufd_pt = struct('vfio_device_attach_iommufd_pt', {
  argsz,
  flags: flags(u32, { VFIO_DEVICE_ATTACH_PASID }),
  pt_id: u32,
  pasid: u32,
});

export const vfio_device_detach_iommufd_pt = struct('vfio_device_detach_iommufd_pt', {
  argsz,
  flags: flags(u32, { VFIO_DEVICE_DETACH_PASID }),
  pasid: u32,
});

export const VFIO_DEVICE_BIND_IOMMUFD = vfioIoctl(
  'VFIO_DEVICE_BIND_IOMMUFD',
  18,
  'device',
  vfio_device_bind_iommufd,
  { flags: { VFIO_DEVICE_BIND_FLAG_TOKEN } },
);

export const VFIO_DEVICE_ATTACH_IOMMUFD_PT = vfioIoctl(
  'VFIO_DEVICE_ATTACH_IOMMUFD_PT',
  19,
  'device',
  vfio_device_attach_iommufd_pt,
  { flags: { VFIO_DEVICE_ATTACH_PASID } },
);

export const VFIO_DEVICE_DETACH_IOMMUFD_PT = vfioIoctl(
  'VFIO_DEVICE_DETACH_IOMMUFD_PT',
  20,
  'device',
  vfio_device_detach_iommufd_pt,
  { flags: { VFIO_DEVICE_DETACH_PASID } },
);
