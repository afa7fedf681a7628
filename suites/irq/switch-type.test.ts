import {
  E1000e,
  E1000eLine,
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_ERR_IRQ_INDEX,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_REQ_IRQ_INDEX,
  allocatedMessages,
  deviceDisIntx,
  expect,
  interruptHandlers,
  test,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const TYPES = {
  intx: VFIO_PCI_INTX_IRQ_INDEX,
  msi: VFIO_PCI_MSI_IRQ_INDEX,
  msix: VFIO_PCI_MSIX_IRQ_INDEX,
};

for (const [name, index] of Object.entries(TYPES)) {
  test(
    `irq.switch.one-at-a-time.${name}`,
    `while ${name} is enabled the other types are refused whatever is asked of them, and ${name} goes on`,
    {
      covers: [VFIO_DEVICE_SET_IRQS.fails('EINVAL')],
      source: [`${INTRS} vfio_pci_set_msi_trigger()`, `${INTRS} vfio_pci_set_intx_trigger()`],
      devices: ['igb', 'e1000e'],
    },
    ({ device, eventfd, pci }) => {
      const [signal, other] = [eventfd(), eventfd()];
      const irqs = new Irqs(device, index);
      irqs.enable([signal]);
      const handlers = interruptHandlers(pci.bdf);
      for (const [otherName, otherIndex] of Object.entries(TYPES)) {
        if (otherIndex === index) continue;
        const refused = new Irqs(device, otherIndex);
        expect(refused.tryEventfds([other]), otherName).toFailWith('EINVAL');
        expect(refused.tryEventfds([null]), otherName).toFailWith('EINVAL');
        expect(refused.tryEventfds([]), otherName).toFailWith('EINVAL');
        expect(refused.tryPlain('trigger', 0, 0), otherName).toFailWith('EINVAL');
        expect(refused.tryPlain('trigger'), otherName).toFailWith('EINVAL');
        expect(refused.tryBools([1], 'trigger'), otherName).toFailWith('EINVAL');
        if (otherIndex === VFIO_PCI_INTX_IRQ_INDEX) {
          expect(refused.tryPlain('mask')).toFailWith('EINVAL');
          expect(refused.tryPlain('unmask')).toFailWith('EINVAL');
          expect(refused.tryEventfds([other], 0, 'unmask')).toFailWith('EINVAL');
        }
      }
      expect(interruptHandlers(pci.bdf)).toEqual(handlers);
      irqs.loopback();
      expect([signal.take(), other.take()]).toEqual([1, 0]);
    },
  );
}

test(
  'irq.switch.cycle',
  'a device goes from each interrupt type to each other and interrupts by it every time',
  { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: 'e1000e' },
  ({ device, eventfd, pci, defer }) => {
    const { intx, msi, msix } = TYPES;
    for (const index of [intx, msi, msix, intx, msix, msi, intx, intx, msix, msix, msi, msi]) {
      const irqs = new Irqs(device, index);
      const signal = eventfd();
      const driver = index === msix ? new E1000e(device) : new E1000eLine(device);
      defer(() => driver.unmap());
      irqs.enable([signal]);
      expect(interruptHandlers(pci.bdf)).toHaveLength(1);
      driver.raise();
      // The 82574's throttling timers may send a message twice.
      expect(signal.soon(), `index ${index}`).toBeGreaterThanOrEqual(1);
      driver.acknowledge();
      irqs.disable();
      expect(interruptHandlers(pci.bdf)).toEqual([]);
      expect(allocatedMessages(pci)).toBe(0);
    }
  },
);

test(
  'irq.switch.intx-after-messages',
  'after MSI and MSI-X are disabled INTx starts unmasked with DisINTx clear',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: `${INTRS} vfio_intx_enable()`,
    devices: ['igb', 'e1000e'],
  },
  ({ device, eventfd, pci }) => {
    for (const index of [TYPES.msi, TYPES.msix]) {
      const messages = new Irqs(device, index);
      messages.enable([eventfd()]);
      messages.disable();
      const line = new Irqs(device, TYPES.intx);
      line.enable([eventfd()]);
      expect(deviceDisIntx(pci)).toBe(false);
      line.mask();
      expect(deviceDisIntx(pci)).toBe(true);
      line.disable();
    }
  },
);

test(
  'irq.switch.notices-stay',
  'ERR and REQ stay set while the type of the device interrupts changes',
  { covers: [VFIO_DEVICE_SET_IRQS], source: INTRS, device: 'igb' },
  ({ device, eventfd }) => {
    const [err, req] = [eventfd(), eventfd()];
    const notices = [VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX].map(
      (index) => new Irqs(device, index),
    );
    notices[0]!.enable([err]);
    notices[1]!.enable([req]);
    for (const index of Object.values(TYPES)) {
      const irqs = new Irqs(device, index);
      irqs.enable([eventfd()]);
      notices[0]!.loopback();
      expect([err.take(), req.take()]).toEqual([1, 0]);
      irqs.disable();
      notices[1]!.loopback();
      expect([err.take(), req.take()]).toEqual([0, 1]);
    }
  },
);
