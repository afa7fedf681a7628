/** How long an interrupt takes to reach a guest that it is led to by irqfd. */
import {
  EDU_ACKNOWLEDGE,
  Irqs,
  KVM_GUEST,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_TRIGGER,
  VFIO_PCI_INTX_IRQ_INDEX,
  bench,
  bootGuest,
  eduDriver,
  type Guest,
  type Measure,
  type Program,
  type Ref,
  type TestContext,
} from '../../harness/testing/index.ts';
import { KINDS, addSetIrqs, measureToOtherThread } from './bench-calls.ts';

/** Who runs the guest. */
const RUNNERS = {
  run: 'the guest handles it when the thread that caused it runs the guest',
  thread: 'the guest, which another thread runs, is woken by it and handles it',
} as const;

type Runner = keyof typeof RUNNERS;

const options = (kind: string, device: string, runner: Runner) => ({
  covers: [VFIO_DEVICE_SET_IRQS],
  device,
  needs: [KVM_GUEST],
  parameters: { kind, waiter: `guest.${runner}` },
  units: { interrupts: 1 },
});

/** Measures from the begin of what `cause` adds until the guest has handled the interrupt. */
function measureHandling(
  context: TestContext,
  measure: Measure,
  runner: Runner,
  guest: Guest,
  cause: (program: Program) => Ref,
  after: (program: Program) => void = () => {},
): void {
  if (runner === 'thread') {
    measureToOtherThread(context, measure, cause, (program) => guest.runIn(program), after);
    return;
  }
  measure((program, timed) => {
    timed('', cause(program), guest.runIn(program));
    after(program);
  });
}

for (const runner of Object.keys(RUNNERS) as Runner[]) {
  for (const { kind, index, device, driver } of KINDS.filter(({ kind }) => kind !== 'intx')) {
    /** A guest that has the first vector of the test's device as its message. */
    const connectedGuest = (context: TestContext): Guest => {
      const guest = bootGuest(context, { messages: 1, idle: 'sleeps' });
      const signal = context.eventfd();
      new Irqs(context.device, index).enable([signal]);
      guest.messages[0]!.connect(signal);
      return guest;
    };

    bench(
      `irq.irqfd.loopback.${kind}.${runner}`,
      `${kind} triggered by the user; ${RUNNERS[runner]}`,
      options(kind, device, runner),
      (context, measure) =>
        measureHandling(context, measure, runner, connectedGuest(context), (program) =>
          addSetIrqs(program, context.device.fd, index, VFIO_IRQ_SET_ACTION_TRIGGER),
        ),
    );

    bench(
      `irq.irqfd.raised.${kind}.${runner}`,
      `${kind} raised by the device; ${RUNNERS[runner]}`,
      options(kind, device, runner),
      (context, measure) => {
        const raising = driver(context);
        measureHandling(
          context,
          measure,
          runner,
          connectedGuest(context),
          (program) => {
            raising.raiseIn(program);
            return program.lastOperation;
          },
          (program) => raising.acknowledgeIn(program),
        );
      },
    );
  }

  bench(
    `irq.irqfd.raised.intx.${runner}`,
    `intx raised by the device, acknowledged there and unmasked by the guest; ${RUNNERS[runner]}`,
    options('intx', 'edu', runner),
    (context, measure) => {
      const edu = eduDriver(context);
      const guest = bootGuest(context, {
        device: { memory: edu.bar, acknowledge: EDU_ACKNOWLEDGE },
        idle: 'sleeps',
      });
      guest.machine.tryAdd(context.group.fd).must();
      const [signal, resample] = [context.eventfd(), context.eventfd()];
      const intx = new Irqs(context.device, VFIO_PCI_INTX_IRQ_INDEX);
      intx.enable([signal]);
      intx.unmaskBy(resample);
      guest.line.connect(signal, resample);
      measureHandling(context, measure, runner, guest, (program) => {
        edu.raiseIn(program);
        return program.lastOperation;
      });
    },
  );
}
