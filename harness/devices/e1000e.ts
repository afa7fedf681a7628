import type { Program } from '../shim/index.ts';
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

/** What both ways of interrupting share. */
class Registers {
  readonly bar: Mapping;

  /** Maps BAR 0, switches on memory decoding and bus mastering, and silences the device. */
  constructor(device: Device) {
    enableDevice(device);
    this.bar = device.region(0).map();
    this.acknowledge();
  }

  acknowledge(): void {
    this.bar.store32(IMC, ALL);
    this.bar.store32(ICR, ALL);
    this.bar.load32(ICR);
  }

  protected storeIn(program: Program, register: number, value: number): void {
    program.store(32, this.bar.address + BigInt(register), value);
  }

  unmap(): void {
    this.bar.unmap();
  }
}

/** Intel 82574L as QEMU emulates it (82574 datasheet, section 10) by its five MSI-X vectors. */
export class E1000e extends Registers implements InterruptDevice {
  /** Lets vector N stand for cause N. */
  constructor(device: Device) {
    super(device);
    this.bar.store32(IVAR, CAUSE_N_TO_VECTOR_N);
    this.bar.store32(CTRL_EXT, this.bar.load32(CTRL_EXT) | CTRL_EXT_INT_TIMERS_CLEAR_ENA);
    // Vectors acknowledge themselves, so that each raise() is a message of its own.
    this.bar.store32(EIAC, VECTOR_CAUSES);
    this.bar.store32(IMS, VECTOR_CAUSES);
  }

  raise(vector = 0): void {
    this.bar.store32(ICS, LINE_CAUSE << vector);
  }

  override acknowledge(): void {
    this.bar.store32(ICR, ALL);
  }

  raiseIn(program: Program, vector = 0): void {
    this.storeIn(program, ICS, LINE_CAUSE << vector);
  }

  acknowledgeIn(program: Program): void {
    this.storeIn(program, ICR, ALL);
  }
}

/** The same device with one interrupt for all causes: INTx or MSI. */
export class E1000eLine extends Registers implements InterruptDevice {
  raise(): void {
    this.bar.store32(IMS, LINE_CAUSE);
    this.bar.store32(ICS, LINE_CAUSE);
  }

  raiseIn(program: Program): void {
    this.storeIn(program, IMS, LINE_CAUSE);
    this.storeIn(program, ICS, LINE_CAUSE);
  }

  acknowledgeIn(program: Program): void {
    this.storeIn(program, IMC, ALL);
    this.storeIn(program, ICR, ALL);
  }
}
