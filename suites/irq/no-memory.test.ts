import {
  ERRNO,
  FAILSLAB,
  IRQ_ACTIONS,
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  allocatedMessages,
  armAllocationFailures,
  expect,
  failNthAllocation,
  fds,
  interruptHandlers,
  test,
  vfio_irq_set,
  type IrqAction,
  type TestContext,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const REFUSALS = [-ERRNO.ENOMEM, -ERRNO.ENOSPC, -ERRNO.ENODEV];
/** More allocations than any of the calls makes. */
const MOST = 300;

interface Row {
  name: string;
  title: string;
  source: string;
  index: number;
  action?: IrqAction;
  start?: number;
  /** Interrupts that the call sets. */
  count: number;
  /** What comes before the call, and how many interrupt handlers there are then. */
  prepare?(t: TestContext): void;
  handlersBefore?: number;
  fixes?: string[];
}

const ROWS: Row[] = [
  {
    name: 'intx',
    title: 'INTx',
    source: `${INTRS} vfio_intx_enable()`,
    index: VFIO_PCI_INTX_IRQ_INDEX,
    count: 1,
    fixes: ['CVE-2024-38632', '82b951e6fbd3'],
  },
  {
    name: 'msi',
    title: 'MSI',
    source: `${INTRS} vfio_msi_enable()`,
    index: VFIO_PCI_MSI_IRQ_INDEX,
    count: 1,
  },
  {
    name: 'msix',
    title: 'MSI-X',
    source: `${INTRS} vfio_msi_set_block()`,
    index: VFIO_PCI_MSIX_IRQ_INDEX,
    count: 3,
  },
  {
    name: 'vector',
    title: 'a further vector of MSI-X',
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    index: VFIO_PCI_MSIX_IRQ_INDEX,
    start: 4,
    count: 1,
    prepare: (t) => new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX).enable([t.eventfd()]),
    handlersBefore: 1,
  },
  {
    name: 'unmask-eventfd',
    title: 'the unmask eventfd',
    source: 'drivers/vfio/virqfd.c vfio_virqfd_enable()',
    index: VFIO_PCI_INTX_IRQ_INDEX,
    action: 'unmask',
    count: 1,
    prepare: (t) => new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([t.eventfd()]),
    handlersBefore: 1,
  },
  {
    name: 'req',
    title: 'the REQ eventfd',
    source: `${INTRS} vfio_pci_set_ctx_trigger_single()`,
    index: VFIO_PCI_REQ_IRQ_INDEX,
    count: 1,
  },
];

for (const row of ROWS) {
  const { name, title, source, index, action = 'trigger', start = 0, count, fixes = [] } = row;
  test(
    `irq.no-memory.${name}`,
    `setting ${title} without memory at any point fails whole and can be done again`,
    {
      covers: [VFIO_DEVICE_SET_IRQS.fails('ENOMEM')],
      source,
      device: 'igb',
      needs: [FAILSLAB],
      fixes,
      timeoutMs: 180_000,
    },
    (t) => {
      t.defer(armAllocationFailures());
      const irqs = new Irqs(t.device, index);
      row.prepare?.(t);
      const signal = t.eventfd();
      const data = fds(new Array<number>(count).fill(signal.fd));
      const header = vfio_irq_set.encode({
        argsz: 20 + data.length,
        flags: VFIO_IRQ_SET_DATA_EVENTFD | IRQ_ACTIONS[action],
        index,
        start,
        count,
      });
      const messages = allocatedMessages(t.pci);
      const undo = () => irqs.tryEventfds(new Array<null>(count).fill(null), start, action);
      let refused = 0;
      for (let nth = 1; nth < MOST; nth++) {
        const { result, hasFailed } = failNthAllocation(nth, (program) =>
          program.syscall(
            'ioctl',
            t.device.fd,
            VFIO_DEVICE_SET_IRQS.request,
            program.data(Buffer.concat([header, data])),
          ),
        );
        if (result !== 0) {
          refused++;
          // The number of vectors that could be had, or what the interrupt subsystem makes of it.
          if (result < 0) expect(REFUSALS, `allocation ${nth}`).toContain(result);
          else expect(result, `allocation ${nth}`).toBeLessThan(count);
          expect(interruptHandlers(t.pci.bdf)).toHaveLength(row.handlersBefore ?? 0);
          if (!row.prepare) {
            expect(allocatedMessages(t.pci)).toBe(messages);
            expect(irqs.tryPlain('trigger'), 'not enabled').toFailWith('EINVAL');
          }
        } else if (row.prepare) {
          expect(undo()).toSucceed(0);
        } else {
          irqs.loopback();
          expect(signal.take()).toBe(1);
          irqs.disable();
        }
        if (!hasFailed) break;
      }
      expect(refused).toBeGreaterThan(0);
      expect(irqs.tryEventfds(new Array(count).fill(signal), start, action)).toSucceed(0);
    },
  );
}
