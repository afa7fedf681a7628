import type { Device } from '../vfio/device.ts';
import { enableDevice } from '../vfio/config-space.ts';
import type { Mapping } from '../vfio/region.ts';
import type { InterruptDevice } from './test-device.ts';

const CTRL_EXT = 0x0018;
const CTRL_EXT_INT_TIMERS_CLEAR_ENA = 1 << 29;
const ICR = 0x00c0;
const ICS = 0x00c8;
const IMS = 0x00d0;
const IMC = 0x00d8;
const EIAC = 0x00dc;
const IVAR = 0x00e4;
/** The five causes that IVAR gives vectors: two receive queues, two transmit queues, other. */
const FIRST_CAUSE = 20;
const VECTOR_CAUSES = 0x1f << FIRST_CAUSE;
/** Each field of IVAR: valid, and the vector with the cause's own number. */
const CAUSE_N_TO_VECTOR_N = 0xcba98;
/** The cause that stands for INTx and MSI here. */
const LINE_CAUSE = 1 << FIRST_CAUSE;
const ALL = 0xffff_ffff;

/** Intel 82574L as QEMU emulates it (82574 datasheet, section 10): INTx, MSI, five MSI-X vectors. */
export class E1000e implements InterruptDevice {
  readonly bar: Mapping;

  /** Maps BAR 0 and lets vector N stand for cause N. */
  constructor(device: Device) {
    enableDevice(device);
    this.bar = device.region(0).map();
    this.bar.store32(IMC, ALL);
    this.bar.store32(IVAR, CAUSE_N_TO_VECTOR_N);
    this.bar.store32(CTRL_EXT, this.bar.load32(CTRL_EXT) | CTRL_EXT_INT_TIMERS_CLEAR_ENA);
    // Vectors acknowledge themselves, so that each raise() is a message of its own.
    this.bar.store32(EIAC, VECTOR_CAUSES);
  }

  raise(vector = 0): void {
    this.bar.store32(IMS, LINE_CAUSE << vector);
    this.bar.store32(ICS, LINE_CAUSE << vector);
  }

  acknowledge(): void {
    this.bar.store32(IMC, ALL);
    this.bar.store32(ICR, ALL);
    this.bar.load32(ICR);
  }

  unmap(): void {
    this.bar.unmap();
  }
}
