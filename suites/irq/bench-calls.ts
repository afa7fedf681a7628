import {
  EFD_CLOEXEC,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_DATA_NONE,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  lineDriver,
  vectorDriver,
  vfio_irq_set,
  type Eventfd,
  type Measure,
  type Program,
  type Ref,
  type TestContext,
} from '../../harness/testing/index.ts';

/** Kinds of interrupts with the device that raises them. */
export const KINDS = [
  { kind: 'intx', index: VFIO_PCI_INTX_IRQ_INDEX, device: 'edu', driver: lineDriver },
  { kind: 'msi', index: VFIO_PCI_MSI_IRQ_INDEX, device: 'edu', driver: lineDriver },
  { kind: 'msix', index: VFIO_PCI_MSIX_IRQ_INDEX, device: 'igb', driver: vectorDriver },
] as const;

/** An eventfd to sleep on. */
export function sleepable({ eventfd }: Pick<TestContext, 'eventfd'>): Eventfd {
  return eventfd({ flags: EFD_CLOEXEC });
}

export function addRead(program: Program, { fd }: Eventfd): Ref {
  return program.syscall('read', fd, program.data(8), 8);
}

/** Adds a write of one to the counter. */
function addSignal(program: Program, { fd }: Eventfd): Ref {
  const one = program.data(8);
  one.bytes.writeBigUInt64LE(1n);
  return program.syscall('write', fd, one, 8);
}

/** Adds a SET_IRQS without data. */
export function addSetIrqs(
  program: Program,
  fd: number,
  index: number,
  action: number,
  count = 1,
): Ref {
  const argument = program.data(
    vfio_irq_set.encode({
      argsz: vfio_irq_set.size,
      flags: VFIO_IRQ_SET_DATA_NONE | action,
      index,
      start: 0,
      count,
    }),
  );
  return program.syscall('ioctl', fd, VFIO_DEVICE_SET_IRQS.request, argument);
}

/**
 * Measures from the begin of what `cause` adds until what `wait` adds has ended in another thread; what `after` adds
 * is not timed.
 */
export function measureToOtherThread(
  context: TestContext,
  measure: Measure,
  cause: (program: Program) => Ref,
  wait: (program: Program) => Ref,
  after: (program: Program) => void = () => {},
): void {
  const seen = sleepable(context);
  measure(
    (program, timed) => {
      timed('', cause(program));
      addRead(program, seen);
      after(program);
    },
    {
      partner: (program) => {
        const arrival = wait(program);
        addSignal(program, seen);
        return arrival;
      },
    },
  );
}
