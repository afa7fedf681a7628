/** `<linux/vfio.h>`: ioctls of a group (/dev/vfio/N). */
import { argsz, flags, struct, u32 } from './struct.ts';
import { vfioIoctl } from './vfio-base.ts';

export const VFIO_GROUP_FLAGS_VIABLE = 1 << 0;
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 1 << 1;

const GROUP_FLAGS = { VFIO_GROUP_FLAGS_VIABLE, VFIO_GROUP_FLAGS_CONTAINER_SET };

export const vfio_group_status = struct('vfio_group_status', {
  argsz,
  flags: flags(u32, GROUP_FLAGS),
});

export const VFIO_GROUP_GET_STATUS = vfioIoctl(
  'VFIO_GROUP_GET_STATUS',
  3,
  'group',
  vfio_group_status,
  { flags: GROUP_FLAGS },
);

/** A pointer to an `int` that holds the container's fd (or, with IOMMUFD, an iommufd). */
export const VFIO_GROUP_SET_CONTAINER = vfioIoctl(
  'VFIO_GROUP_SET_CONTAINER',
  4,
  'group',
  undefined,
  { argument: 'fd-pointer' },
);

export const VFIO_GROUP_UNSET_CONTAINER = vfioIoctl('VFIO_GROUP_UNSET_CONTAINER', 5, 'group');

/** A pointer to the device's name (`0000:01:00.0`, for some drivers with options behind it); gives its fd. */
export const VFIO_GROUP_GET_DEVICE_FD = vfioIoctl(
  'VFIO_GROUP_GET_DEVICE_FD',
  6,
  'group',
  undefined,
  { argument: 'string', returns: 'device' },
);
