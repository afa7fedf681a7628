import { sys } from '../shim/index.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/libc.ts';
import {
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  vfio_group_status,
} from '../abi/vfio.ts';
import { Answer } from '../kernel/answer.ts';
import type { Container } from './container.ts';
import { Device } from './device.ts';
import { ioctl } from './ioctl.ts';

/** An open /dev/vfio/N. */
export class Group {
  readonly fd: number;
  /** The group's number, as in /dev/vfio/N. */
  readonly number: string;
  #open = true;

  constructor(fd: number, number: string) {
    this.fd = fd;
    this.number = number;
  }

  /** The value is the group on success, null otherwise. */
  static tryOpen(number: string): Answer<Group | null> {
    const fd = sys.open(`/dev/vfio/${number}`, O_RDWR | O_CLOEXEC);
    return new Answer(`open /dev/vfio/${number}`, fd, fd >= 0 ? new Group(fd, number) : null);
  }

  /** @throws KernelError: EBUSY if it is open already, EPERM, ENOENT if no member is bound to VFIO. */
  static open(number: string): Group {
    return Group.tryOpen(number).get()!;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    sys.close(this.fd);
  }

  tryGetStatus(argsz: number = vfio_group_status.size): Answer<number> {
    const buffer = vfio_group_status.encode({ argsz, flags: 0 });
    const { call, result } = ioctl(this.fd, VFIO_GROUP_GET_STATUS, buffer);
    return new Answer(call, result, vfio_group_status.decode(buffer).flags);
  }

  /** VFIO_GROUP_FLAGS_*. */
  status(): number {
    return this.tryGetStatus().get();
  }

  trySetContainer(container: Container | number): Answer {
    const argument = Buffer.alloc(4);
    argument.writeInt32LE(typeof container === 'number' ? container : container.fd);
    return ioctl(this.fd, VFIO_GROUP_SET_CONTAINER, argument);
  }

  setContainer(container: Container): void {
    this.trySetContainer(container).must();
  }

  tryUnsetContainer(): Answer {
    return ioctl(this.fd, VFIO_GROUP_UNSET_CONTAINER);
  }

  unsetContainer(): void {
    this.tryUnsetContainer().must();
  }

  /** The value is the device on success, null otherwise. */
  tryGetDevice(name: string): Answer<Device | null> {
    const { call, result } = ioctl(
      this.fd,
      VFIO_GROUP_GET_DEVICE_FD,
      Buffer.from(`${name}\0`, 'latin1'),
    );
    return new Answer(`${call} ${name}`, result, result >= 0 ? new Device(result, name) : null);
  }

  /** @param name the BDF, as the kernel names the device. */
  getDevice(name: string): Device {
    return this.tryGetDevice(name).get()!;
  }
}
