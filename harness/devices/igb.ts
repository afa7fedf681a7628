import type { Program } from '../shim/index.ts';
import type { Device } from '../vfio/device.ts';
import { enableDevice } from '../vfio/config-space.ts';
import type { Mapping } from '../vfio/region.ts';
import type { InterruptDevice } from './test-device.ts';

const STATUS = 0x0008;
const GPIE = 0x1514;
const GPIE_MULTIPLE_MSIX = 0x10;
const GPIE_PBA = 0x8000_0000;
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

  raiseIn(program: Program, vector = 0): void {
    program.store(32, this.bar.address + BigInt(EICS), 1 << vector);
  }

  acknowledgeIn(program: Program): void {
    program.store(32, this.bar.address + BigInt(EICR), ALL);
    program.store(32, this.bar.address + BigInt(EIMS), ALL);
  }

  /** No vector may interrupt any more. */
  silence(): void {
    this.bar.store32(EIMC, ALL);
  }

  unmap(): void {
    this.bar.unmap();
  }
}
