import {
  Edu,
  Irqs,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_INFO_AUTOMASKED,
  VFIO_IRQ_INFO_EVENTFD,
  VFIO_IRQ_INFO_MASKABLE,
  VFIO_PCI_INTX_IRQ_INDEX,
  expect,
  test,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
/** How long an interrupt may take before it counts as lost, and how long none must come. */
const SOON = 5000;
const QUIET = 50;

test(
  'irq.intx.info',
  'INTx is one interrupt with an eventfd that is masked when it fires',
  {
    covers: [VFIO_DEVICE_GET_IRQ_INFO],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_irq_info()',
    device: 'edu',
  },
  ({ device }) => {
    const info = device.irqInfo(VFIO_PCI_INTX_IRQ_INDEX);
    expect(info.count).toBe(1);
    expect(info.flags).toBe(
      VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED,
    );
  },
);

test(
  'irq.intx.automask',
  'INTx raised by the device arrives once and stays masked until it is unmasked',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_handler()`,
    device: 'edu',
  },
  ({ device, eventfd }) => {
    const edu = new Edu(device);
    const signal = eventfd();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    edu.raise();
    expect(signal.wait(SOON)).toBe(1);
    expect(signal.wait(QUIET)).toBe(0);
    intx.unmask();
    expect(signal.wait(SOON), 'the line is still high: unmask fires again').toBe(1);
    edu.acknowledge();
    intx.unmask();
    expect(signal.wait(QUIET), 'the line is low: unmask is silent').toBe(0);
    edu.raise();
    expect(signal.wait(SOON)).toBe(1);
    edu.acknowledge();
    intx.disable();
    edu.unmap();
  },
);
