import {
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
} from '../abi/vfio.ts';
import type { Answer } from '../kernel/answer.ts';
import { fds, type Device } from './device.ts';
import type { Eventfd } from './eventfd.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';

/** What SET_IRQS is to do with the interrupts. */
export type IrqAction = 'mask' | 'unmask' | 'trigger';

/** An eventfd of ours, any number as one, or none. */
export type EventfdLike = Pick<Eventfd, 'fd'> | number | null;

export const IRQ_ACTIONS: Readonly<Record<IrqAction, number>> = {
  mask: VFIO_IRQ_SET_ACTION_MASK,
  unmask: VFIO_IRQ_SET_ACTION_UNMASK,
  trigger: VFIO_IRQ_SET_ACTION_TRIGGER,
};

const numberOf = (eventfd: EventfdLike): number =>
  typeof eventfd === 'number' ? eventfd : (eventfd?.fd ?? -1);

/** One interrupt index of a device (VFIO_PCI_INTX_IRQ_INDEX, …): the calls that users make of it. */
export class Irqs {
  readonly device: Device;
  readonly index: number;

  constructor(device: Device, index: number) {
    this.device = device;
    this.index = index;
  }

  /** Enables vectors from `start` on, each signalling its own eventfd; null leaves one without. */
  enable(eventfds: readonly EventfdLike[], start = 0): void {
    const available = this.tryEventfds(eventfds, start).must();
    if (available === 0) return;
    throw new ImpossibleAnswer('VFIO_DEVICE_SET_IRQS', '0 for enabled', String(available));
  }

  /** Disables the whole index: count 0. */
  disable(): void {
    this.tryPlain('trigger', 0, 0).must();
  }

  /** Signals as if the device had raised the vectors. */
  loopback(start = 0, count = 1): void {
    this.tryPlain('trigger', start, count).must();
  }

  mask(start = 0, count = 1): void {
    this.tryPlain('mask', start, count).must();
  }

  unmask(start = 0, count = 1): void {
    this.tryPlain('unmask', start, count).must();
  }

  /** Lets a signal on `eventfd` unmask the interrupt (INTx). */
  unmaskBy(eventfd: EventfdLike): void {
    this.tryEventfds([eventfd], 0, 'unmask').must();
  }

  /** DATA_EVENTFD: one eventfd a vector. */
  tryEventfds(eventfds: readonly EventfdLike[], start = 0, action: IrqAction = 'trigger'): Answer {
    return this.device.trySetIrqs({
      flags: VFIO_IRQ_SET_DATA_EVENTFD | IRQ_ACTIONS[action],
      index: this.index,
      start,
      count: eventfds.length,
      data: fds(eventfds.map(numberOf)),
    });
  }

  /** DATA_BOOL: one byte a vector, as given. */
  tryBools(bools: readonly number[], action: IrqAction, start = 0): Answer {
    return this.device.trySetIrqs({
      flags: VFIO_IRQ_SET_DATA_BOOL | IRQ_ACTIONS[action],
      index: this.index,
      start,
      count: bools.length,
      data: Buffer.from(bools),
    });
  }

  /** DATA_NONE: `count` vectors from `start` on. */
  tryPlain(action: IrqAction, start = 0, count = 1): Answer {
    return this.device.trySetIrqs({
      flags: VFIO_IRQ_SET_DATA_NONE | IRQ_ACTIONS[action],
      index: this.index,
      start,
      count,
    });
  }
}
