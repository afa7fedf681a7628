import {
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSIX_IRQ_INDEX,
  allocatedMessages,
  expect,
  interruptHandlers,
  test,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';

test(
  'irq.msix.exhausted',
  'an enable for which the processors have too few vectors fails whole, and a smaller one works',
  {
    covers: [VFIO_DEVICE_SET_IRQS.fails('ENOSPC')],
    source: [`${INTRS} vfio_msi_set_vector_signal()`, `${INTRS} vfio_msi_set_block()`],
    device: 'many-vectors',
  },
  ({ device, pci, eventfd }) => {
    const signal = eventfd();
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    const { count } = device.irqInfo(VFIO_PCI_MSIX_IRQ_INDEX);
    const all = Array.from({ length: count }, () => signal);
    for (let round = 0; round < 2; round++) {
      const answer = msix.tryEventfds(all);
      // A machine with many processors has enough of them.
      if (answer.result === 0) return;
      expect(answer).toFailWith('ENOSPC');
      expect(interruptHandlers(pci.bdf)).toEqual([]);
      expect(allocatedMessages(pci)).toBe(0);
      expect(msix.tryPlain('trigger', 0, count), 'not enabled').toFailWith('EINVAL');
    }
    msix.enable([signal, signal, signal]);
    msix.loopback(0, 3);
    expect(signal.take()).toBe(3);
  },
);
