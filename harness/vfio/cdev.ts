import { sys } from '../shim/index.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import {
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  vfio_device_attach_iommufd_pt,
  vfio_device_bind_iommufd,
  vfio_device_detach_iommufd_pt,
} from '../abi/vfio.ts';
import { Answer } from '../kernel/answer.ts';
import { Device } from './device.ts';
import type { Iommufd } from './iommufd.ts';
import { ioctl } from './ioctl.ts';
import { deviceNode, type SysfsDevice } from './nodes.ts';

/** Size of VFIO_DEVICE_BIND_IOMMUFD's struct before it had a token. */
export const BIND_SIZE_WITHOUT_TOKEN = 16;

/** Arguments of VFIO_DEVICE_BIND_IOMMUFD; what is left out gets the value of a correct call. */
export interface BindIommufd {
  iommufd: Iommufd | number;
  flags?: number;
  argsz?: number;
  /** Address of 16 bytes. */
  token?: bigint;
}

/** A device opened through its own node, /dev/vfio/devices/vfioN. */
export class CdevDevice extends Device {
  /** The value is the device on success. */
  static tryOpen(device: SysfsDevice): Answer<CdevDevice | null> {
    const path = deviceNode(device);
    const fd = sys.open(path, O_RDWR | O_CLOEXEC);
    return new Answer(`open ${path}`, fd, fd >= 0 ? new CdevDevice(fd, device.name) : null);
  }

  /** The value is the device's id in the iommufd; argsz bytes are given, at least the whole struct. */
  tryBind({
    iommufd,
    flags = 0,
    argsz = BIND_SIZE_WITHOUT_TOKEN,
    token = 0n,
  }: BindIommufd): Answer<number> {
    const buffer = Buffer.alloc(Math.max(argsz, vfio_device_bind_iommufd.size));
    vfio_device_bind_iommufd
      .encode({
        argsz,
        flags,
        iommufd: typeof iommufd === 'number' ? iommufd : iommufd.fd,
        out_devid: 0,
        token_uuid_ptr: token,
      })
      .copy(buffer);
    const { call, result } = ioctl(this.fd, VFIO_DEVICE_BIND_IOMMUFD, buffer);
    return new Answer(call, result, vfio_device_bind_iommufd.decode(buffer).out_devid);
  }

  bind(iommufd: Iommufd): number {
    return this.tryBind({ iommufd }).get();
  }

  /** The value is the id of the page table in use. @param argsz default: without the PASID. */
  tryAttach(pt: number, { flags = 0, argsz = 12, pasid = 0 } = {}): Answer<number> {
    const buffer = vfio_device_attach_iommufd_pt.encode({ argsz, flags, pt_id: pt, pasid });
    const { call, result } = ioctl(this.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, buffer);
    return new Answer(call, result, vfio_device_attach_iommufd_pt.decode(buffer).pt_id);
  }

  /** @param argsz default: without the PASID. */
  tryDetach({ flags = 0, argsz = 8, pasid = 0 } = {}): Answer {
    return ioctl(
      this.fd,
      VFIO_DEVICE_DETACH_IOMMUFD_PT,
      vfio_device_detach_iommufd_pt.encode({ argsz, flags, pasid }),
    );
  }
}
