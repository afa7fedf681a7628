import {
  Irqs,
  POLLIN,
  Program,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_ACTION_UNMASK,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  eduDriver,
  expect,
  interruptsTaken,
  test,
  vectorDriver,
  vfio_irq_set,
  type Device,
  type Eventfd,
  type InterruptDevice,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const SOON_MS = 10_000;
/** Thousands of interrupts on an emulator that shares its processor. */
const TIMEOUT_MS = 180_000;

interface Loop {
  driver: InterruptDevice;
  signal: Eventfd;
  interrupts: number;
  vector?: number;
  /** What unmasks after each interrupt. */
  unmask?(program: Program): void;
}

/** Raises, waits for exactly one count, acknowledges, again and again. Interrupts that came in order. */
function lockStep({ driver, signal, interrupts, vector, unmask }: Loop): number {
  const program = new Program();
  const poll = program.data(8);
  poll.bytes.writeInt32LE(signal.fd, 0);
  poll.bytes.writeInt16LE(POLLIN, 4);
  const value = program.data(8);
  const first = program.clock();
  driver.raiseIn(program, vector);
  program.syscall('poll', poll, 1, SOON_MS);
  program.syscall('read', signal.fd, value, 8);
  program.wait(64, value, 0xffff_ffff_ffff_ffffn, 1, 0);
  driver.acknowledgeIn(program);
  unmask?.(program);
  const loop = program.repeat(first, interrupts);
  program.run();
  return program.count(loop);
}

/** SET_IRQS that unmasks INTx, as an operation of a program. */
function unmaskCall(device: Device): (program: Program) => void {
  return (program) => {
    const flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
    const call = vfio_irq_set.encode({ argsz: 20, flags, index: 0, start: 0, count: 1 });
    program.syscall('ioctl', device.fd, VFIO_DEVICE_SET_IRQS.request, program.data(call));
  };
}

test(
  'irq.exact.msi',
  'each of 100,000 MSIs that the device sends is one count',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msihandler()`,
    device: 'edu',
    timeoutMs: 5 * TIMEOUT_MS,
  },
  (t) => {
    const driver = eduDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).enable([signal]);
    expect(lockStep({ driver, signal, interrupts: 100_000 })).toBe(100_000);
    expect(signal.quiet()).toBe(0);
    expect(interruptsTaken(`vfio-msi[0](${t.pci.bdf})`)).toBe(100_000);
  },
);

test(
  'irq.exact.msix',
  'each of 5,000 messages of one vector is one count of its eventfd, and none of another',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msihandler()`,
    device: 'igb',
    timeoutMs: TIMEOUT_MS,
  },
  (t) => {
    const driver = vectorDriver(t);
    const signals = [t.eventfd(), t.eventfd(), t.eventfd()];
    new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX).enable(signals);
    const signal = signals[1]!;
    expect(lockStep({ driver, signal, interrupts: 5000, vector: 1 })).toBe(5000);
    expect(signals.map((each) => each.quiet())).toEqual([0, 0, 0]);
    expect(interruptsTaken(`vfio-msix[1](${t.pci.bdf})`)).toBe(5000);
  },
);

test(
  'irq.exact.intx-unmask-call',
  'each of 5,000 INTx interrupts, unmasked by call, is one count',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_handler()`,
    device: 'edu',
    timeoutMs: TIMEOUT_MS,
  },
  (t) => {
    const driver = eduDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([signal]);
    const unmask = unmaskCall(t.device);
    expect(lockStep({ driver, signal, interrupts: 5000, unmask })).toBe(5000);
    expect(signal.quiet()).toBe(0);
  },
);

test(
  'irq.exact.intx-unmask-eventfd',
  'each of 5,000 INTx interrupts, unmasked by eventfd, is one count',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/virqfd.c virqfd_wakeup()',
    device: 'edu',
    timeoutMs: TIMEOUT_MS,
  },
  (t) => {
    const driver = eduDriver(t);
    const [signal, unmaskBy] = [t.eventfd(), t.eventfd()];
    const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    intx.unmaskBy(unmaskBy);
    const unmask = (program: Program) => {
      const one = program.data(8);
      one.bytes.writeBigUInt64LE(1n);
      program.syscall('write', unmaskBy.fd, one, 8);
    };
    expect(lockStep({ driver, signal, interrupts: 5000, unmask })).toBe(5000);
    expect(signal.quiet()).toBe(0);
    expect(unmaskBy.take()).toBe(0);
  },
);

test(
  'irq.exact.intx-retrigger',
  'each of 5,000 unmasks while the line is high is one count',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_intx_unmask_handler()`,
    device: 'edu',
    timeoutMs: TIMEOUT_MS,
  },
  (t) => {
    const edu = eduDriver(t);
    const signal = t.eventfd();
    new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([signal]);
    edu.raise();
    expect(signal.soon()).toBe(1);
    const program = new Program();
    const first = program.clock();
    unmaskCall(t.device)(program);
    const loop = program.repeat(first, 5000);
    expect(program.run().count(loop)).toBe(5000);
    expect(signal.take()).toBe(5000);
    edu.acknowledge();
    expect(signal.quiet()).toBe(0);
  },
);
