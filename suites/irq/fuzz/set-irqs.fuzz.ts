import {
  PCI_COMMAND_INTX_DISABLE,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_BOOL,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_NUM_IRQS,
  fuzz,
  racing,
  type FuzzOptions,
  type Kind,
} from '../../../harness/testing/index.ts';
import type { SetIrqsCall, Target } from './irq-model.ts';
import { EVENTFDS, IrqStage, UNMASK_EVENTFD, type IrqRun } from './irq-stage.ts';

/** What a vector is given; most are eventfds, so that programs get somewhere. */
const TARGETS: readonly Target[] = [0, 1, 2, 3, 0, 1, 2, 3, 'none', 'closed', 'file', 'negative'];
const UNMASK_TARGETS: readonly Target[] = [UNMASK_EVENTFD, 'none', 'closed', 'file', 'negative'];
const MOST_VECTORS = 8;
const ACTIONS = [VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_MASK, VFIO_IRQ_SET_ACTION_UNMASK];
/** No data type, one, several; no action, one, several; a flag that does not exist. */
const ALL_FLAGS = 128;

/** As many targets as are asked for, from a place in the deck on. */
function targetsFrom(first: number, count: number): Target[] {
  return Array.from({ length: count }, (_, at) => TARGETS[(first + 3 * at) % TARGETS.length]!);
}

function boolsOf(bits: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => (bits >> at) & 1);
}

/** Issues the call and lets the model say what must come of it. */
function issue({ batch, model, stage }: IrqRun, call: SetIrqsCall): void {
  batch.expectResult(stage.addSetIrqs(batch, call), model.set(call));
}

const EMPTY = { targets: [], bools: [], short: 0 } as const;

const KINDS: Readonly<Record<string, Kind<IrqRun>>> = {
  connect: {
    weight: 8,
    fields: { index: VFIO_PCI_ERR_IRQ_INDEX, start: 4, more: 4, first: TARGETS.length },
    issue(run, index = 0, start = 0, more = 0, first = 0) {
      const count = 1 + more;
      issue(run, {
        ...EMPTY,
        index,
        flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        start: index === VFIO_PCI_MSIX_IRQ_INDEX ? start : 0,
        count: index === VFIO_PCI_MSIX_IRQ_INDEX ? count : 1,
        targets: targetsFrom(first, count),
      });
    },
  },
  loopback: {
    weight: 10,
    fields: { index: VFIO_PCI_NUM_IRQS, start: 4, more: 4, bits: 256, asBools: 2 },
    issue(run, index = 0, start = 0, more = 0, bits = 0, asBools = 0) {
      const isMsix = index === VFIO_PCI_MSIX_IRQ_INDEX;
      const count = isMsix ? 1 + more : 1;
      const data = asBools ? VFIO_IRQ_SET_DATA_BOOL : VFIO_IRQ_SET_DATA_NONE;
      issue(run, {
        ...EMPTY,
        index,
        flags: data | VFIO_IRQ_SET_ACTION_TRIGGER,
        start: isMsix ? start : 0,
        count,
        bools: asBools ? boolsOf(bits, count) : [],
      });
    },
  },
  disable: {
    weight: 2,
    fields: { index: VFIO_PCI_NUM_IRQS },
    issue(run, index = 0) {
      const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
      issue(run, { ...EMPTY, index, flags, start: 0, count: 0 });
    },
  },
  'connect-single': {
    weight: 2,
    fields: { request: 2, first: TARGETS.length },
    issue(run, request = 0, first = 0) {
      issue(run, {
        ...EMPTY,
        index: VFIO_PCI_ERR_IRQ_INDEX + request,
        flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
        start: 0,
        count: 1,
        targets: targetsFrom(first, 1),
      });
    },
  },
  mask: {
    weight: 3,
    fields: { unmask: 2, asBool: 2, bit: 2 },
    issue(run, unmask = 0, asBool = 0, bit = 0) {
      const data = asBool ? VFIO_IRQ_SET_DATA_BOOL : VFIO_IRQ_SET_DATA_NONE;
      issue(run, {
        ...EMPTY,
        index: VFIO_PCI_INTX_IRQ_INDEX,
        flags: data | ACTIONS[1 + unmask]!,
        start: 0,
        count: 1,
        bools: asBool ? [bit] : [],
      });
    },
  },
  'unmask-by': {
    weight: 2,
    fields: { target: UNMASK_TARGETS.length },
    issue(run, target = 0) {
      issue(run, {
        ...EMPTY,
        index: VFIO_PCI_INTX_IRQ_INDEX,
        flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
        start: 0,
        count: 1,
        targets: [UNMASK_TARGETS[target]!],
      });
    },
  },
  'signal-unmask': {
    weight: 1,
    fields: {},
    issue({ batch, model, stage }) {
      stage.addSignal(batch);
      model.signalUnmask(UNMASK_EVENTFD);
    },
  },
  any: {
    weight: 5,
    fields: { index: 7, flags: ALL_FLAGS, start: 12, count: MOST_VECTORS, first: 12, short: 4 },
    issue(run, index = 0, flags = 0, start = 0, count = 0, first = 0, short = 0) {
      const isEventfd = (flags & 7) === VFIO_IRQ_SET_DATA_EVENTFD;
      // An index is not enabled with no vectors at all, and an eventfd for interrupts unmasks nothing.
      const isUnmask = (flags & 56) === VFIO_IRQ_SET_ACTION_UNMASK;
      const vectors = isEventfd ? Math.max(1, count) : count;
      issue(run, {
        index,
        flags,
        start,
        count: vectors,
        targets: !isEventfd
          ? []
          : isUnmask
            ? Array.from({ length: vectors }, () => 'none' as const)
            : targetsFrom(first, vectors),
        bools: (flags & 7) === VFIO_IRQ_SET_DATA_BOOL ? boolsOf(first, vectors) : [],
        short,
      });
    },
  },
  take: {
    weight: 8,
    fields: { eventfd: EVENTFDS + 1 },
    issue({ batch, model, stage }, eventfd = 0) {
      const observed = stage.addTake(batch, eventfd);
      const expected = model.take(eventfd);
      batch.check(() => {
        if (observed() === expected) return null;
        const what = `count of eventfd ${eventfd}`;
        return { what, expected: String(expected), observed: String(observed()) };
      });
    },
  },
  'look-disintx': {
    weight: 1,
    fields: {},
    issue({ batch, model, stage }) {
      if (!stage.canDisableIntx || model.enabled !== VFIO_PCI_INTX_IRQ_INDEX) return;
      const { isMasked } = model;
      const observed = stage.addCommand(batch);
      batch.check(() => {
        if (((observed() & PCI_COMMAND_INTX_DISABLE) !== 0) === isMasked) return null;
        const what = 'INTx Disable in the hardware';
        return { what, expected: isMasked ? 'set' : 'clear', observed: isMasked ? 'clear' : 'set' };
      });
    },
  },
  raise: {
    weight: 3,
    fields: { vector: MOST_VECTORS },
    issue({ batch, model, stage }, vector = 0) {
      const eventfd = model.vectors.get(vector);
      if (!stage.raiser || model.enabled !== VFIO_PCI_MSIX_IRQ_INDEX || eventfd === undefined) {
        return;
      }
      // An empty counter first: or the wait would end before the interrupt is there.
      stage.addTake(batch, eventfd);
      model.take(eventfd);
      stage.addRaise(batch, vector, eventfd);
      model.counts[eventfd]! += 1;
    },
  },
};

const FUZZER: FuzzOptions<IrqRun> = {
  covers: [VFIO_DEVICE_SET_IRQS],
  source: [
    'drivers/vfio/pci/vfio_pci_intrs.c vfio_pci_set_irqs_ioctl()',
    'drivers/vfio/vfio_main.c vfio_set_irqs_validate_and_prepare()',
  ],
  devices: ['edu', 'igb'],
  kinds: KINDS,
  longest: 200,
  programs: 4,
  stage: (context) => new IrqStage(context),
};

fuzz(
  'irq.fuzz.set-irqs',
  'whatever SET_IRQS is asked for, each eventfd counts the interrupts that are its own',
  FUZZER,
);

fuzz(
  'irq.fuzz.set-irqs-racing',
  'threads that ask for SET_IRQS at once leave interrupts that count as they should',
  racing(FUZZER, ['raise']),
);
