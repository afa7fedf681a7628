import type { Uapi } from '../protocol/uapi.ts';
import { ERRNO } from './errno.ts';
import { Ioctl } from './ioctl.ts';
import * as iommufd from './iommufd.ts';
import * as kvm from './kvm.ts';
import * as vfio from './vfio.ts';

/** All that the headers which this project knows offer: the rows of the coverage table. */
export function uapi(): Uapi {
  const exported: unknown[] = [vfio, iommufd, kvm].flatMap((header) => Object.values(header));
  return {
    items: exported.flatMap((item) =>
      item instanceof Ioctl
        ? item.keys().map((key) => ({ key, ioctl: item.name, fd: item.fd }))
        : [],
    ),
    errnos: Object.keys(ERRNO),
  };
}
