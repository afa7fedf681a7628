import {
  Irqs,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IRQ_INFO_NORESIZE,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  allocatedMessages,
  expect,
  interruptHandlers,
  test,
  vectorDriver,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
/** Linux that can add MSI-X vectors while others are in use. */
const DYNAMIC = '6.5';
const RAISING = ['igb', 'igb-multi-1'];

test(
  'irq.msix.dynamic.add',
  'vectors above those first enabled can be added while the others go on firing',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_alloc_irq()`,
    devices: RAISING,
    since: DYNAMIC,
    fixes: ['e4163438e01c'],
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { count, flags } = t.device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    expect(flags & VFIO_IRQ_INFO_NORESIZE).toBe(0);
    const signals = Array.from({ length: count }, () => t.eventfd());
    msix.enable([signals[0]!]);
    for (let vector = count - 1; vector > 0; vector--) {
      msix.enable([signals[vector]!], vector);
      expect(allocatedMessages(t.pci)).toBe(1 + count - vector);
      for (const raised of [vector, 0]) {
        driver.raise(raised);
        expect(signals[raised]!.soon(), `vector ${raised}`).toBe(1);
        driver.acknowledge();
      }
    }
    expect(signals.map((signal) => signal.take())).toEqual(signals.map(() => 0));
    msix.disable();
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    expect(allocatedMessages(t.pci)).toBe(0);
  },
);

test(
  'irq.msix.dynamic.kept',
  'a vector added and removed keeps its message until MSI-X is disabled, and can be set again',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'igb',
    since: DYNAMIC,
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const [first, added] = [t.eventfd(), t.eventfd()];
    msix.enable([first]);
    for (let round = 0; round < 3; round++) {
      msix.enable([added], 7);
      expect(allocatedMessages(t.pci)).toBe(2);
      driver.raise(7);
      expect(added.soon()).toBe(1);
      driver.acknowledge();
      msix.enable([null], 7);
      expect(allocatedMessages(t.pci)).toBe(2);
      expect(interruptHandlers(t.pci.bdf)).toHaveLength(1);
    }
    msix.disable();
    msix.enable([first]);
    expect(allocatedMessages(t.pci)).toBe(1);
  },
);

test(
  'irq.msix.dynamic.add-fails',
  'a vector that cannot be added because its fd is bad leaves the others and can be added later',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('EBADF')],
    source: `${INTRS} vfio_msi_set_vector_signal()`,
    device: 'igb',
    since: DYNAMIC,
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const [first, added] = [t.eventfd(), t.eventfd()];
    msix.enable([first]);
    expect(msix.tryEventfds([0x7fff_ffff], 5)).toFailWith('EBADF');
    expect(msix.tryEventfds([added, 0x7fff_ffff], 5)).toFailWith('EBADF');
    expect(interruptHandlers(t.pci.bdf)).toHaveLength(1);
    driver.raise(0);
    expect(first.soon()).toBe(1);
    driver.acknowledge();
    msix.enable([added], 5);
    driver.raise(5);
    expect(added.soon()).toBe(1);
  },
);

test(
  'irq.msix.dynamic.empty-enable',
  'MSI-X enabled with a start but no eventfd has messages and no handlers until vectors are set',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_set_msi_trigger()`,
    device: 'igb',
    since: DYNAMIC,
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const signal = t.eventfd();
    expect(msix.tryEventfds([], 3)).toSucceed(0);
    expect(interruptHandlers(t.pci.bdf)).toEqual([]);
    expect(allocatedMessages(t.pci)).toBe(3);
    msix.enable([signal], 2);
    driver.raise(2);
    expect(signal.soon()).toBe(1);
    msix.disable();
    expect(allocatedMessages(t.pci)).toBe(0);
  },
);

test(
  'irq.msix.noresize',
  'before dynamic MSI-X, vectors above those first enabled are refused and the others go on',
  {
    covers: [
      VFIO_DEVICE_SET_IRQS.fails('EINVAL'),
      VFIO_DEVICE_GET_IRQ_INFO.flag('VFIO_IRQ_INFO_NORESIZE'),
    ],
    source: `${INTRS} vfio_msi_set_block()`,
    devices: RAISING,
    until: DYNAMIC,
  },
  (t) => {
    const driver = vectorDriver(t);
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { flags } = t.device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    expect(flags & VFIO_IRQ_INFO_NORESIZE).toBe(VFIO_IRQ_INFO_NORESIZE);
    const signals = Array.from({ length: 5 }, () => t.eventfd());
    msix.enable(signals.slice(0, 2));
    expect(msix.tryEventfds([signals[2]!], 2)).toFailWith('EINVAL');
    expect(msix.tryEventfds(signals)).toFailWith('EINVAL');
    expect(msix.tryPlain('trigger', 2, 1)).toFailWith('EINVAL');
    expect(msix.tryPlain('trigger', 1, 2)).toFailWith('EINVAL');
    expect(allocatedMessages(t.pci)).toBe(2);
    driver.raise(1);
    expect(signals[1]!.soon()).toBe(1);
    expect(signals.map((signal) => signal.take())).toEqual([0, 0, 0, 0, 0]);
  },
);

test(
  'irq.msix.loopback-beyond-enabled',
  'a trigger for vectors of the table that are not set signals nobody',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_pci_set_msi_trigger()`,
    device: 'igb',
    since: DYNAMIC,
  },
  (t) => {
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { count } = t.device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    const signals = [t.eventfd(), t.eventfd()];
    msix.enable(signals);
    expect(msix.tryPlain('trigger', 2, count - 2)).toSucceed(0);
    expect(signals.map((signal) => signal.take())).toEqual([0, 0]);
    expect(msix.tryPlain('trigger', 1, count - 1)).toSucceed(0);
    expect(signals.map((signal) => signal.take())).toEqual([0, 1]);
    expect(new Irqs(t.device, VFIO_PCI_MSI_IRQ_INDEX).tryPlain('trigger')).toFailWith('EINVAL');
  },
);
