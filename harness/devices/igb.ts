import type { Device } from '../vfio/device.ts';
import { enableDevice } from '../vfio/config-space.ts';
import type { Mapping } from '../vfio/region.ts';
import type { InterruptDevice } from './test-device.ts';

const STATUS = 0x0008;
const GPIE = 0x1514;
const GPIE_MULTIPLE_MSIX = 0x10;
const GPIE_PBA = 0x8000_0000;
const ICR = 0x1500;
const ICS = 0x1504;
const IMS = 0x1508;
const IMC = 0x150c;
const EICS = 0x1520;
const EIMS = 0x1524;
const EIMC = 0x1528;
const EICR = 0x1580;
const ALL = 0x01ff_ffff;

/** Intel 82576 as QEMU emulates it (82576 datasheet, section 8): MSI-X vectors raised by a register write. */
export class Igb implements InterruptDevice {
  readonly bar: Mapping;

  /** Maps BAR 0, switches on memory decoding and bus mastering, and lets every vector interrupt. */
  constructor(device: Device) {
    enableDevice(device);
    this.bar = device.region(0).map();
    this.bar.store32(GPIE, GPIE_MULTIPLE_MSIX | GPIE_PBA);
    this.bar.store32(EIMS, ALL);
  }

  status(): number {
    return this.bar.load32(STATUS);
  }

  raise(vector = 0): void {
    this.bar.store32(EICS, 1 << vector);
  }

  acknowledge(): void {
    this.bar.store32(EICR, ALL);
    this.bar.store32(EIMS, ALL);
  }

  /** No vector may interrupt any more. */
  silence(): void {
    this.bar.store32(EIMC, ALL);
  }

  unmap(): void {
    this.bar.unmap();
  }
}

/** The same device with one interrupt for all causes: INTx or MSI. */
export class IgbLine implements InterruptDevice {
  readonly bar: Mapping;

  /** Maps BAR 0, switches on memory decoding and bus mastering, and leaves MSI-X mode. */
  constructor(device: Device) {
    enableDevice(device);
    this.bar = device.region(0).map();
    this.bar.store32(GPIE, 0);
    this.acknowledge();
  }

  raise(): void {
    const LINK_CHANGE = 1 << 2;
    this.bar.store32(IMS, LINK_CHANGE);
    this.bar.store32(ICS, LINK_CHANGE);
  }

  acknowledge(): void {
    const EVERY_CAUSE = 0xffff_ffff;
    this.bar.store32(IMC, EVERY_CAUSE);
    this.bar.store32(ICR, EVERY_CAUSE);
    this.bar.load32(ICR);
  }

  unmap(): void {
    this.bar.unmap();
  }
}
