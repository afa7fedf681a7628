import type { Eventfd } from '../../../harness/testing/index.ts';
import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  O_CLOEXEC,
  O_RDONLY,
  PCI_COMMAND,
  POLLIN,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
  kernelAtLeast,
  sys,
  vectorDriver,
  vfio_irq_set,
  type Batch,
  type Device,
  type InterruptDevice,
  type Ref,
  type Stage,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { IrqModel, type IrqShape, type SetIrqsCall, type Target } from './irq-model.ts';

/** Eventfds for interrupts; one more is for unmasking only. */
export const EVENTFDS = 4;
export const UNMASK_EVENTFD = EVENTFDS;
/** No process has so many files. */
const CLOSED_FD = 0x7fff_fff0;
const DATA = vfio_irq_set.tailOffset;
/** Until an interrupt that must come has come: much, for an emulator that is kept waiting. */
const PATIENCE_MS = 20_000;

/** What operations of the interrupt fuzzers work on. */
export interface IrqRun {
  batch: Batch;
  model: IrqModel;
  stage: IrqStage;
}

/** A device, and eventfds to be signalled. */
export class IrqStage implements Stage<IrqRun> {
  readonly shape: IrqShape;
  /** Raises MSI-X vectors; null where the device does so by itself only. */
  readonly raiser: InterruptDevice | null;
  /** Whether INTx is masked in the device and not at the interrupt controller. */
  readonly canDisableIntx: boolean;
  readonly #device: Device;
  readonly #eventfds: Eventfd[];
  /** A file that is no eventfd. */
  readonly #file: number;
  /** Config space past VFIO. */
  readonly #hardware: number;

  constructor(context: TestContext) {
    this.#device = context.device;
    const infos = Array.from({ length: VFIO_PCI_ERR_IRQ_INDEX }, (_, index) =>
      this.#device.irqInfo(index),
    );
    // vfio_pci_get_irq_count(): conventional devices have it since Linux 7, which GET_IRQ_INFO hides.
    const isExpress = this.#device.tryGetIrqInfo(VFIO_PCI_ERR_IRQ_INDEX).ok;
    const errors = isExpress || kernelAtLeast('7.0') ? 1 : 0;
    this.shape = {
      counts: [...infos.map(({ count }) => count), errors, 1],
      isDynamic: !(infos[VFIO_PCI_MSIX_IRQ_INDEX]!.flags & VFIO_IRQ_INFO_NORESIZE),
    };
    this.canDisableIntx = context.role === 'igb';
    this.raiser = context.role === 'igb' ? vectorDriver(context) : null;
    const flags = EFD_NONBLOCK | EFD_CLOEXEC;
    this.#eventfds = Array.from({ length: EVENTFDS + 1 }, () => context.eventfd({ flags }));
    this.#file = sys.open('/dev/null', O_RDONLY | O_CLOEXEC);
    context.defer(() => void sys.close(this.#file));
    const path = `/sys/bus/pci/devices/${context.pci.bdf}/config`;
    this.#hardware = sys.open(path, O_RDONLY | O_CLOEXEC);
    context.defer(() => void sys.close(this.#hardware));
  }

  begin(batch: Batch): IrqRun {
    const model = new IrqModel(this.shape, EVENTFDS + 1);
    const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    // Whatever is enabled no longer is; what is not is refused.
    for (let index = 0; index < VFIO_PCI_NUM_IRQS; index++) {
      const nothing = { index, flags, start: 0, count: 0, targets: [], bools: [], short: 0 };
      this.addSetIrqs(batch, nothing);
    }
    for (let eventfd = 0; eventfd <= EVENTFDS; eventfd++) this.addTake(batch, eventfd);
    return { batch, model, stage: this };
  }

  #number(target: Target): number {
    switch (target) {
      case 'none':
        return -1;
      case 'negative':
        return -2;
      case 'closed':
        return CLOSED_FD;
      case 'file':
        return this.#file;
      default:
        return this.#eventfds[target]!.fd;
    }
  }

  /** Adds a VFIO_DEVICE_SET_IRQS, with room for as much data as any kind of payload needs. */
  addSetIrqs({ program }: Batch, call: SetIrqsCall): Ref {
    const { index, flags, start, count, targets, bools, short } = call;
    const isEventfds = targets.length > 0;
    const size = DATA + (isEventfds ? 4 * targets.length : bools.length);
    const argument = program.data(DATA + 4 * Math.max(targets.length, bools.length));
    const { bytes } = argument;
    vfio_irq_set.encode({ argsz: size - short, flags, index, start, count }).copy(bytes);
    targets.forEach((target, at) => bytes.writeInt32LE(this.#number(target), DATA + 4 * at));
    if (!isEventfds) bools.forEach((bool, at) => bytes.writeUInt8(bool, DATA + at));
    return program.syscall('ioctl', this.#device.fd, VFIO_DEVICE_SET_IRQS.request, argument);
  }

  /** Adds a read of an eventfd: the count after the run, or -errno. */
  addTake({ program }: Batch, eventfd: number): () => number {
    const counter = program.data(8);
    const ref = program.syscall('read', this.#eventfds[eventfd]!.fd, counter, 8);
    return () => {
      const result = program.result(ref);
      return result === 8 ? Number(counter.bytes.readBigUInt64LE()) : result;
    };
  }

  /** Adds a look at the hardware's command register; its value after the run. */
  addCommand({ program }: Batch): () => number {
    const word = program.data(2);
    program.syscall('pread', this.#hardware, word, 2, PCI_COMMAND);
    return () => word.bytes.readUInt16LE();
  }

  /** Adds a signal to the eventfd that unmasks. */
  addSignal({ program }: Batch): void {
    const one = program.data(8);
    one.bytes.writeUInt8(1);
    program.syscall('write', this.#eventfds[UNMASK_EVENTFD]!.fd, one, 8);
  }

  /** Lets the device raise a vector and waits until its eventfd, which must be empty, says so. */
  addRaise(batch: Batch, vector: number, eventfd: number): void {
    const { program } = batch;
    this.raiser!.raiseIn(program, vector);
    const polled = program.data(8);
    polled.bytes.writeInt32LE(this.#eventfds[eventfd]!.fd, 0);
    polled.bytes.writeInt16LE(POLLIN, 4);
    batch.expectResult(program.syscall('poll', polled, 1, PATIENCE_MS), 1);
    this.raiser!.acknowledgeIn(program);
  }

  end({ model }: IrqRun): ReturnType<NonNullable<Stage<IrqRun>['end']>> {
    for (const [eventfd, expected] of model.counts.entries()) {
      const observed = this.#eventfds[eventfd]!.take();
      if (observed !== expected) {
        const what = `count of eventfd ${eventfd}`;
        return { what, expected: String(expected), observed: String(observed) };
      }
    }
    return null;
  }
}
