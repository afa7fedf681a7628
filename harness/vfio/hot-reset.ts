import {
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  vfio_pci_dependent_device,
  vfio_pci_hot_reset,
  vfio_pci_hot_reset_info,
} from '../abi/vfio.ts';
import { sys } from '../shim/index.ts';
import { Answer } from '../kernel/answer.ts';
import { fds, type Device } from './device.ts';
import { ioctl } from './ioctl.ts';

/** A function that a hot reset resets. */
export interface AffectedFunction {
  /** Number of its group; with VFIO_PCI_HOT_RESET_FLAG_DEV_ID its id in the iommufd, or VFIO_PCI_DEVID_*. */
  id: number;
  bdf: string;
}

/** What VFIO_DEVICE_GET_PCI_HOT_RESET_INFO tells, decoded as far as the buffer goes. */
export interface HotResetInfo {
  argsz: number;
  flags: number;
  count: number;
  /** The functions that a hot reset of this device resets. */
  devices: AffectedFunction[];
  bytes: Buffer;
}

/** `0000:0a:00.1` from the fields of struct vfio_pci_dependent_device. */
function bdf(segment: number, bus: number, devfn: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  return `${hex(segment, 4)}:${hex(bus, 2)}:${hex(devfn >> 3, 2)}.${devfn & 7}`;
}

/**
 * One GET_PCI_HOT_RESET_INFO. The buffer holds `argsz` bytes (at least the fixed part) of 0xee, so that
 * whatever the kernel wrote can be told from what it left alone.
 */
export function tryGetHotResetInfo(device: Device, argsz: number): Answer<HotResetInfo> {
  const fixed = vfio_pci_hot_reset_info.size;
  const element = vfio_pci_dependent_device.size;
  const bytes = Buffer.alloc(Math.max(argsz, fixed), 0xee);
  vfio_pci_hot_reset_info.encode({ argsz, flags: 0xffff_ffff, count: 0 }).copy(bytes);
  const { call, result } = ioctl(device.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, bytes);
  const header = vfio_pci_hot_reset_info.decode(bytes);
  const room = result < 0 ? 0 : Math.floor((bytes.length - fixed) / element);
  const devices = Array.from({ length: Math.min(header.count, room) }, (_, index) => {
    const entry = vfio_pci_dependent_device.decode(bytes, fixed + index * element);
    return { id: entry.group_id, bdf: bdf(entry.segment, entry.bus, entry.devfn) };
  });
  return new Answer(call, result, { ...header, devices, bytes });
}

/** Room for as many functions as a bus can have. */
const AMPLE = vfio_pci_hot_reset_info.size + 256 * vfio_pci_dependent_device.size;

/** The functions that a hot reset of the device resets. @throws KernelError: ENODEV if it cannot. */
export function hotResetInfo(device: Device): HotResetInfo {
  return tryGetHotResetInfo(device, AMPLE).get();
}

/** How often a reset is tried whose locks somebody else holds for a moment. */
const TRIES = 50;

/**
 * VFIO_DEVICE_PCI_HOT_RESET, the caller showing the groups that it owns; none for a device that was opened
 * through its own node. The kernel takes the locks of all
 * functions only if they are free, and says EBUSY or EAGAIN if one is not: then it is tried again.
 */
export function tryHotReset(
  device: Device,
  groupFds: readonly number[],
  { argsz, flags = 0, count }: { argsz?: number; flags?: number; count?: number } = {},
): Answer {
  const payload = fds(groupFds);
  const header = vfio_pci_hot_reset.encode({
    argsz: argsz ?? vfio_pci_hot_reset.size + payload.length,
    flags,
    count: count ?? groupFds.length,
  });
  const argument = Buffer.concat([header, payload]);
  let answer = ioctl(device.fd, VFIO_DEVICE_PCI_HOT_RESET, argument);
  for (let tries = 1; tries < TRIES; tries++) {
    if (answer.errno !== 'EBUSY' && answer.errno !== 'EAGAIN') break;
    sys.poll([], 2);
    answer = ioctl(device.fd, VFIO_DEVICE_PCI_HOT_RESET, argument);
  }
  return answer;
}
