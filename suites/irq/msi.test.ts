import {
  Edu,
  Igb,
  Irqs,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  expect,
  test,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
/** How long an interrupt may take before it counts as lost, and how long none must come. */
const SOON = 5000;
const QUIET = 50;

test(
  'irq.msi.delivery',
  'each MSI raised by the device is one count of the eventfd, and none after disable',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_msihandler()`, device: 'edu', peer: ['S26'] },
  ({ device, eventfd }) => {
    const edu = new Edu(device);
    const signal = eventfd();
    const msi = new Irqs(device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([signal]);
    for (let round = 0; round < 3; round++) {
      edu.raise();
      expect(signal.wait(SOON)).toBe(1);
      edu.acknowledge();
    }
    msi.disable();
    edu.raise();
    expect(signal.wait(QUIET)).toBe(0);
    edu.acknowledge();
    edu.unmap();
  },
);

test(
  'irq.msi.loopback',
  'a trigger without data signals the eventfd of the vector',
  { covers: [VFIO_DEVICE_SET_IRQS], source: `${INTRS} vfio_pci_set_msi_trigger()`, device: 'edu', peer: ['S6'] },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const msi = new Irqs(device, VFIO_PCI_MSI_IRQ_INDEX);
    msi.enable([signal]);
    expect(signal.take()).toBe(0);
    msi.loopback();
    expect(signal.take()).toBe(1);
  },
);

test(
  'irq.msix.each-vector',
  'each MSI-X vector signals its own eventfd and no other',
  {
    covers: [VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_GET_IRQ_INFO],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'igb',
    peer: ['S6', 'S26', 'L6'],
  },
  ({ device, eventfd }) => {
    const { count } = device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    expect(count).toBe(10);
    const signals = Array.from({ length: count }, () => eventfd());
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable(signals);
    const igb = new Igb(device);
    for (const [vector, signal] of signals.entries()) {
      igb.raise(vector);
      expect(signal.wait(SOON), `vector ${vector}`).toBe(1);
      expect(signals.map((other) => other.take())).toEqual(signals.map(() => 0));
      igb.acknowledge();
    }
    igb.unmap();
  },
);

test(
  'irq.index.beyond',
  'an interrupt index that the device does not have is refused',
  {
    covers: [VFIO_DEVICE_GET_IRQ_INFO.fails('EINVAL')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_irq_info()',
  },
  ({ device }) => {
    const { num_irqs } = device.info();
    for (const index of [num_irqs, num_irqs + 1, 0xffffffff]) {
      expect(device.tryGetIrqInfo(index)).toFailWith('EINVAL');
    }
  },
);
