import { sys } from '../shim/index.ts';
import {
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_REGION_INFO_FLAG_CAPS,
  vfio_device_feature,
  vfio_device_info,
  vfio_irq_info,
  vfio_irq_set,
  vfio_region_info,
} from '../abi/vfio.ts';
import { Answer } from '../kernel/answer.ts';
import { walkCapabilities } from './capability-chain.ts';
import { ioctl } from './ioctl.ts';
import { Region, type RegionInfo } from './region.ts';
import { checkRegion, checkResetFlag } from './sysfs-rules.ts';

/** VFIO_DEVICE_GET_IRQ_INFO, decoded. */
export interface IrqInfo {
  argsz: number;
  flags: number;
  index: number;
  count: number;
}

/** Arguments of VFIO_DEVICE_SET_IRQS; `argsz` defaults to header plus data. */
export interface SetIrqs {
  flags: number;
  index: number;
  start?: number;
  count: number;
  /** Payload: eventfds as `fds([…])`, booleans as bytes. */
  data?: Buffer;
  argsz?: number;
}

/** The eventfd payload of SET_IRQS: 32-bit numbers, -1 for none. */
export function fds(numbers: readonly number[]): Buffer {
  const buffer = Buffer.alloc(numbers.length * 4);
  numbers.forEach((fd, index) => buffer.writeInt32LE(fd, index * 4));
  return buffer;
}

/** Enabling messages: drivers/vfio/pci/vfio_pci_intrs.c vfio_msi_enable(). */
const SET_MESSAGES = {
  ...VFIO_DEVICE_SET_IRQS,
  returns: 'how many there are, if more were asked for: nothing is enabled then',
};

/** The one feature whose result is more than 0 for success. */
export const GET_DMA_BUF = { ...VFIO_DEVICE_FEATURE, returns: 'file descriptor of a dma-buf' };

/** A VFIO device fd. */
export class Device {
  readonly fd: number;
  /** The name by which it was opened: of a PCI function, the BDF. */
  readonly name: string;
  #open = true;

  constructor(fd: number, name: string) {
    this.fd = fd;
    this.name = name;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    sys.close(this.fd);
  }

  /** One GET_INFO with a zeroed buffer of `argsz` bytes. */
  tryGetInfo(argsz: number = vfio_device_info.size): Answer<Buffer> {
    const buffer = Buffer.alloc(Math.max(argsz, vfio_device_info.size));
    buffer.writeUInt32LE(argsz, 0);
    const answer = ioctl(this.fd, VFIO_DEVICE_GET_INFO, buffer).with(buffer);
    if (answer.ok) checkResetFlag(this.name, vfio_device_info.decode(buffer).flags);
    return answer;
  }

  info(): {
    argsz: number;
    flags: number;
    num_regions: number;
    num_irqs: number;
    cap_offset: number;
  } {
    return vfio_device_info.decode(this.tryGetInfo().get());
  }

  /** One GET_REGION_INFO with a zeroed buffer of `argsz` bytes. */
  tryGetRegionInfo(index: number, argsz: number = vfio_region_info.size): Answer<Buffer> {
    const buffer = Buffer.alloc(Math.max(argsz, vfio_region_info.size));
    vfio_region_info
      .encode({ argsz, flags: 0, index, cap_offset: 0, size: 0n, offset: 0n })
      .copy(buffer);
    const answer = ioctl(this.fd, VFIO_DEVICE_GET_REGION_INFO, buffer).with(buffer);
    if (answer.ok) checkRegion(this.name, vfio_region_info.decode(buffer));
    return answer;
  }

  /** Asks for the size, then for everything with the capability chain. */
  regionInfo(index: number): RegionInfo {
    const first = this.tryGetRegionInfo(index).get();
    const { argsz } = vfio_region_info.decode(first);
    const bytes = argsz > first.length ? this.tryGetRegionInfo(index, argsz).get() : first;
    const info = vfio_region_info.decode(bytes);
    const capabilities =
      info.flags & VFIO_REGION_INFO_FLAG_CAPS
        ? walkCapabilities(bytes, info.cap_offset, vfio_region_info.size)
        : [];
    return { ...info, capabilities };
  }

  region(index: number): Region {
    return new Region(this.fd, this.regionInfo(index));
  }

  /** The configuration space. */
  get config(): Region {
    return this.region(VFIO_PCI_CONFIG_REGION_INDEX);
  }

  tryGetIrqInfo(index: number, argsz: number = vfio_irq_info.size): Answer<IrqInfo> {
    const buffer = vfio_irq_info.encode({ argsz, flags: 0, index, count: 0 });
    const { call, result } = ioctl(this.fd, VFIO_DEVICE_GET_IRQ_INFO, buffer);
    return new Answer(call, result, vfio_irq_info.decode(buffer));
  }

  irqInfo(index: number): IrqInfo {
    return this.tryGetIrqInfo(index).get();
  }

  trySetIrqs({ flags, index, start, count, data, argsz }: SetIrqs): Answer {
    const payload = data ?? Buffer.alloc(0);
    const header = vfio_irq_set.encode({
      argsz: argsz ?? vfio_irq_set.size + payload.length,
      flags,
      index,
      start: start ?? 0,
      count,
    });
    const isMessages = index === VFIO_PCI_MSI_IRQ_INDEX || index === VFIO_PCI_MSIX_IRQ_INDEX;
    const descriptor = isMessages ? SET_MESSAGES : VFIO_DEVICE_SET_IRQS;
    return ioctl(this.fd, descriptor, Buffer.concat([header, payload]));
  }

  setIrqs(irqs: SetIrqs): void {
    this.trySetIrqs(irqs).must();
  }

  tryReset(): Answer {
    return ioctl(this.fd, VFIO_DEVICE_RESET);
  }

  reset(): void {
    this.tryReset().must();
  }

  /** VFIO_DEVICE_FEATURE with a payload; the value is the payload afterwards. */
  tryFeature(flags: number, payload: Buffer = Buffer.alloc(0), argsz?: number): Answer<Buffer> {
    const header = vfio_device_feature.encode({
      argsz: argsz ?? vfio_device_feature.size + payload.length,
      flags,
    });
    const buffer = Buffer.concat([header, payload]);
    const isDmaBuf = (flags & VFIO_DEVICE_FEATURE_MASK) === VFIO_DEVICE_FEATURE_DMA_BUF;
    const { call, result } = ioctl(this.fd, isDmaBuf ? GET_DMA_BUF : VFIO_DEVICE_FEATURE, buffer);
    return new Answer(call, result, buffer.subarray(vfio_device_feature.size));
  }
}
