import {
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  VFIO_PCI_MSI_IRQ_INDEX,
  eduDriver,
  expect,
  irqNumber,
  lastUnhandled,
  test,
} from '../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const ROUNDS = 20;

for (const [name, index, source] of [
  ['intx', VFIO_PCI_INTX_IRQ_INDEX, `${INTRS} vfio_intx_handler()`],
  ['msi', VFIO_PCI_MSI_IRQ_INDEX, `${INTRS} vfio_msihandler()`],
] as const) {
  test(
    `irq.handled.${name}`,
    `an ${name.toUpperCase()} that reaches the user counts as handled, not as one that nobody cared for`,
    // Its line is shared with a function that is silent, and no other.
    { covers: [VFIO_DEVICE_SET_IRQS], source, device: 'edu-pair-a' },
    (t) => {
      const edu = eduDriver(t);
      const signal = t.eventfd();
      const irqs = new Irqs(t.device, index);
      irqs.enable([signal]);
      const irq = irqNumber(t.pci);
      let unhandled = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const before = lastUnhandled(irq);
        edu.raise();
        expect(signal.soon()).toBe(1);
        edu.acknowledge();
        if (index === VFIO_PCI_INTX_IRQ_INDEX) irqs.unmask();
        if (lastUnhandled(irq) !== before) unhandled++;
      }
      // A level that is lowered while it is delivered may find nobody, now and then.
      expect(unhandled).toBeLessThan(ROUNDS / 2);
    },
  );
}
