import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
} from '../abi/vfio.ts';
import { fds, type Device } from './device.ts';
import type { Eventfd } from './eventfd.ts';

/** One interrupt index of a device (VFIO_PCI_INTX_IRQ_INDEX, …): the calls that users make of it. */
export class Irqs {
  readonly device: Device;
  readonly index: number;

  constructor(device: Device, index: number) {
    this.device = device;
    this.index = index;
  }

  /** Enables vectors from `start` on, each signalling its own eventfd; null leaves one without. */
  enable(eventfds: readonly (Eventfd | null)[], start = 0): void {
    this.device.setIrqs({
      flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
      index: this.index,
      start,
      count: eventfds.length,
      data: fds(eventfds.map((eventfd) => eventfd?.fd ?? -1)),
    });
  }

  /** Disables the whole index: count 0. */
  disable(): void {
    this.#bare(VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0);
  }

  /** Signals as if the device had raised the vectors. */
  loopback(start = 0, count = 1): void {
    this.#bare(VFIO_IRQ_SET_ACTION_TRIGGER, start, count);
  }

  mask(start = 0, count = 1): void {
    this.#bare(VFIO_IRQ_SET_ACTION_MASK, start, count);
  }

  unmask(start = 0, count = 1): void {
    this.#bare(VFIO_IRQ_SET_ACTION_UNMASK, start, count);
  }

  /** Lets a signal on `eventfd` unmask the interrupt (INTx). */
  unmaskBy(eventfd: Eventfd): void {
    this.device.setIrqs({
      flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
      index: this.index,
      count: 1,
      data: fds([eventfd.fd]),
    });
  }

  #bare(action: number, start: number, count: number): void {
    this.device.setIrqs({
      flags: VFIO_IRQ_SET_DATA_NONE | action,
      index: this.index,
      start,
      count,
    });
  }
}
