import { VFIO_DEVICE_IOEVENTFD, vfio_device_ioeventfd } from '../abi/vfio.ts';
import type { Answer } from '../kernel/answer.ts';
import type { Device } from './device.ts';
import { ioctl } from './ioctl.ts';
import type { Region } from './region.ts';

/** A write that the kernel does when an eventfd is signalled. */
export interface Ioeventfd {
  /** In bytes: 1, 2, 4 or 8. */
  width: number;
  /** Relative to the region. */
  offset: number | bigint;
  data: bigint;
  /** The eventfd; -1 takes the assignment back. */
  fd: number;
  /** Replaces the width as flags. */
  flags?: number;
  argsz?: number;
}

/** One VFIO_DEVICE_IOEVENTFD. */
export function tryIoeventfd(
  device: Device,
  region: Region,
  { width, offset, data, fd, flags = width, argsz = vfio_device_ioeventfd.size }: Ioeventfd,
): Answer {
  return ioctl(
    device.fd,
    VFIO_DEVICE_IOEVENTFD,
    vfio_device_ioeventfd.encode({
      argsz,
      flags,
      offset: region.info.offset + BigInt(offset),
      data,
      fd,
      reserved: 0,
    }),
  );
}
