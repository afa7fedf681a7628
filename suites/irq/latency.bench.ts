/** How long an interrupt takes to reach who waits for it. */
import { KINDS, addRead, addSetIrqs, measureToOtherThread, sleepable } from './bench-calls.ts';
import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  Irqs,
  POLLIN,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_MASK,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  bench,
  fds,
  vfio_irq_set,
  type Eventfd,
  type Measure,
  type Program,
  type Ref,
  type Reference,
  type TestContext,
} from '../../harness/testing/index.ts';

const SOON_MS = 10_000;
const covers = [VFIO_DEVICE_SET_IRQS];

/** Who waits for the eventfd, and how. */
const WAITERS = {
  read: 'the thread that caused it reads the eventfd',
  poll: 'the thread that caused it polls, then reads the eventfd',
  thread: 'another thread sleeps in a read of the eventfd',
} as const;

type Waiter = keyof typeof WAITERS;

function options(device: string, kind: string, waiter: Waiter) {
  return { covers, device, parameters: { kind, waiter }, units: { interrupts: 1 } };
}

function addPoll(program: Program, { fd }: Eventfd): Ref {
  const request = program.data(8);
  request.bytes.writeInt32LE(fd, 0);
  request.bytes.writeInt16LE(POLLIN, 4);
  return program.syscall('poll', request, 1, SOON_MS);
}

/**
 * Measures from the begin of what `cause` adds until the waiter has it; what `after` adds is not
 * timed.
 */
function measureArrival(
  context: TestContext,
  measure: Measure,
  waiter: Waiter,
  signal: Eventfd,
  cause: (program: Program) => Ref,
  after: (program: Program) => void = () => {},
  reference?: Reference,
): void {
  if (waiter === 'thread') {
    measureToOtherThread(context, measure, cause, (program) => addRead(program, signal), after);
    return;
  }
  measure(
    (program, timed) => {
      const caused = cause(program);
      const arrival = waiter === 'poll' ? addPoll(program, signal) : addRead(program, signal);
      timed('', caused, arrival);
      if (waiter === 'poll') addRead(program, signal);
      after(program);
    },
    { reference },
  );
}

/** An eventfd for the waiter: polled ones must not let a lost interrupt go unnoticed. */
function signalFor(context: TestContext, waiter: Waiter): Eventfd {
  return waiter === 'poll'
    ? context.eventfd({ flags: EFD_CLOEXEC | EFD_NONBLOCK })
    : sleepable(context);
}

for (const { kind, index, device, driver } of KINDS) {
  for (const waiter of Object.keys(WAITERS) as Waiter[]) {
    bench(
      `irq.loopback.${kind}.${waiter}`,
      `${kind} triggered by the user; ${WAITERS[waiter]}`,
      options(device, kind, waiter),
      (context, measure) => {
        const signal = signalFor(context, waiter);
        const { fd } = context.device;
        new Irqs(context.device, index).enable([signal]);
        measureArrival(
          context,
          measure,
          waiter,
          signal,
          (program) => addSetIrqs(program, fd, index, VFIO_IRQ_SET_ACTION_TRIGGER),
          undefined,
          kind === 'msi' && waiter === 'read'
            ? { args: ['msi-loopback'], fds: [fd, signal.fd] }
            : undefined,
        );
      },
    );

    bench(
      `irq.raised.${kind}.${waiter}`,
      `${kind} raised by the device; ${WAITERS[waiter]}`,
      options(device, kind, waiter),
      (context, measure) => {
        const raising = driver(context);
        const signal = signalFor(context, waiter);
        const irqs = new Irqs(context.device, index);
        irqs.enable([signal]);
        measureArrival(
          context,
          measure,
          waiter,
          signal,
          (program) => {
            // The last store is the one that raises.
            raising.raiseIn(program);
            return program.lastOperation;
          },
          (program) => {
            raising.acknowledgeIn(program);
            if (kind === 'intx')
              addSetIrqs(program, context.device.fd, index, VFIO_IRQ_SET_ACTION_UNMASK);
          },
        );
      },
    );
  }
}

bench(
  'irq.mask.intx',
  'masking and unmasking of INTx',
  { covers, device: 'edu', operations: ['mask', 'unmask'], parameters: { kind: 'intx' } },
  (context, measure) => {
    const { fd } = context.device;
    new Irqs(context.device, VFIO_PCI_INTX_IRQ_INDEX).enable([context.eventfd()]);
    measure((program, timed) => {
      for (const [name, action] of [
        ['mask', VFIO_IRQ_SET_ACTION_MASK],
        ['unmask', VFIO_IRQ_SET_ACTION_UNMASK],
      ] as const)
        timed(name, addSetIrqs(program, fd, VFIO_PCI_INTX_IRQ_INDEX, action));
    });
  },
);

const ENABLED = [
  { kind: 'intx', index: VFIO_PCI_INTX_IRQ_INDEX, device: 'edu', counts: [1] },
  { kind: 'msi', index: VFIO_PCI_MSI_IRQ_INDEX, device: 'edu', counts: [1] },
  { kind: 'msix', index: VFIO_PCI_MSIX_IRQ_INDEX, device: 'nvme', counts: [1, 4, 16, 64] },
] as const;

for (const { kind, index, device, counts } of ENABLED) {
  for (const vectors of counts) {
    bench(
      `irq.enable.${kind}.${vectors}`,
      `enabling and disabling ${kind} with ${vectors} vectors`,
      {
        covers,
        device,
        operations: ['enable', 'disable'],
        parameters: { kind, vectors },
        units: { interrupts: vectors },
      },
      (context, measure) => {
        const { fd } = context.device;
        const signals = Array.from({ length: vectors }, () => context.eventfd().fd);
        measure((program, timed) => {
          const enable = eventfdArgument(index, signals);
          timed(
            'enable',
            program.syscall('ioctl', fd, VFIO_DEVICE_SET_IRQS.request, program.data(enable)),
          );
          timed('disable', addSetIrqs(program, fd, index, VFIO_IRQ_SET_ACTION_TRIGGER, 0));
        });
      },
    );
  }
}

function eventfdArgument(index: number, signals: readonly number[]): Buffer {
  const payload = fds(signals);
  const header = vfio_irq_set.encode({
    argsz: vfio_irq_set.size + payload.length,
    flags: VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
    index,
    start: 0,
    count: signals.length,
  });
  return Buffer.concat([header, payload]);
}
