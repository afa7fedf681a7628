import {
  CHARGED_OBJECTS,
  Irqs,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSIX_IRQ_INDEX,
  expectCharged,
  test,
} from '../../harness/testing/index.ts';

/** Two processors have as many for one device. */
const VECTORS = 150;
/** struct vfio_pci_irq_ctx is larger, the name of an interrupt smaller. */
const CONTEXT = 96;

test(
  'irq.charged.vector',
  'a vector is charged to whoever gives it an eventfd',
  {
    needs: [CHARGED_OBJECTS],
    covers: [VFIO_DEVICE_SET_IRQS],
    source: 'drivers/vfio/pci/vfio_pci_intrs.c vfio_irq_ctx_alloc()',
    since: '6.5',
    device: 'many-vectors',
  },
  ({ device, eventfd }) => {
    const signal = eventfd();
    const msix = new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX);
    expectCharged({ count: VECTORS, least: CONTEXT }, () =>
      msix.enable(Array.from({ length: VECTORS }, () => signal)),
    );
  },
);
