import {
  ERRNO,
  FAILSLAB,
  IRQ_ACTIONS,
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_SET_DATA_EVENTFD,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  allocatedMessages,
  expect,
  fds,
  interruptHandlers,
  test,
  vfio_irq_set,
  withEachFailing,
  type IrqAction,
  type TestContext,
} from '../../harness/testing/index.ts';
import { numberComesBack } from './eventfd-numbers.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';

interface Row {
  name: string;
  title: string;
  source: string;
  index: number;
  action?: IrqAction;
  /** What comes before the call, and how many interrupt handlers there are then. */
  prepare?(t: TestContext): void;
  handlersBefore?: number;
  fixes?: string[];
}

// Not MSI and MSI-X: what the interrupt core and procfs make of a failed allocation hides VFIO's part.
const ROWS: Row[] = [
  {
    name: 'intx',
    title: 'INTx',
    source: `${INTRS} vfio_intx_enable()`,
    index: VFIO_PCI_INTX_IRQ_INDEX,
    fixes: ['CVE-2024-38632', '82b951e6fbd3'],
  },
  {
    name: 'unmask-eventfd',
    title: 'the unmask eventfd',
    source: 'drivers/vfio/virqfd.c vfio_virqfd_enable()',
    index: VFIO_PCI_INTX_IRQ_INDEX,
    action: 'unmask',
    prepare: (t) => new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX).enable([t.eventfd()]),
    handlersBefore: 1,
  },
  {
    name: 'req',
    title: 'the REQ eventfd',
    source: `${INTRS} vfio_pci_set_ctx_trigger_single()`,
    index: VFIO_PCI_REQ_IRQ_INDEX,
  },
];

for (const row of ROWS) {
  const { name, title, source, index, action = 'trigger', fixes = [] } = row;
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
      const irqs = new Irqs(t.device, index);
      row.prepare?.(t);
      const signal = t.eventfd();
      const data = fds([signal.fd]);
      const header = vfio_irq_set.encode({
        argsz: 20 + data.length,
        flags: VFIO_IRQ_SET_DATA_EVENTFD | IRQ_ACTIONS[action],
        index,
        start: 0,
        count: 1,
      });
      const messages = allocatedMessages(t.pci);
      const undo = () => irqs.tryEventfds([null], 0, action);
      const refused = withEachFailing(
        t,
        (program) =>
          program.syscall(
            'ioctl',
            t.device.fd,
            VFIO_DEVICE_SET_IRQS.request,
            program.data(Buffer.concat([header, data])),
          ),
        (result) => {
          if (result < 0) {
            expect(result).toBe(-ERRNO.ENOMEM);
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
        },
      );
      expect(refused).toBeGreaterThan(0);
      expect(irqs.tryEventfds([signal], 0, action)).toSucceed(0);
      const { id } = signal;
      signal.close();
      irqs.disable();
      expect(numberComesBack(id), 'no refused call holds the eventfd').toBe(true);
    },
  );
}
