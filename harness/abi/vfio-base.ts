/** `<linux/vfio.h>`: what containers, groups and devices share. */
import { _IO } from './ioc.ts';
import { Ioctl, type FdKind, type IoctlOptions } from './ioctl.ts';
import { struct, u16, u32, type Names, type Struct } from './struct.ts';

export const VFIO_API_VERSION = 0;

export const VFIO_TYPE = ';';
export const VFIO_BASE = 100;

/** Every VFIO ioctl is an `_IO()`: its size is in `argsz`, not in the number. */
export function vfioIoctl<
  Fd extends FdKind,
  T = undefined,
  const F extends Names = Record<never, number>,
  const V extends Names = Record<never, number>,
  const C extends Names = Record<never, number>,
>(
  name: string,
  nr: number,
  fd: Fd,
  argument?: Struct<T>,
  options?: IoctlOptions<F, V, C>,
): Ioctl<Fd, T, F, V, C> {
  return new Ioctl(name, _IO(VFIO_TYPE, VFIO_BASE + nr), fd, argument, options);
}

/** Head of every capability behind an INFO struct; `next` counts from the start of that struct, 0 ends the chain. */
export const vfio_info_cap_header = struct('vfio_info_cap_header', {
  id: u16,
  version: u16,
  next: u32,
});
