import {
  Irqs,
  PCI_CAP_ID_MSIX,
  PCI_MSIX_PBA,
  PCI_MSIX_PBA_BIR,
  PCI_MSIX_PBA_OFFSET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSIX_IRQ_INDEX,
  expect,
  findCapability,
  test,
  vectorDriver,
  type Device,
} from '../../../harness/testing/index.ts';

const INTRS = 'drivers/vfio/pci/vfio_pci_intrs.c';
const VECTOR = 1;

/** The first 32 bits of the device's pending bit array, as the user reads it. */
function pendingBits(device: Device): number {
  const capability = findCapability(device.config, PCI_CAP_ID_MSIX)!;
  const where = device.config.read32(capability + PCI_MSIX_PBA);
  return device.region(where & PCI_MSIX_PBA_BIR).read32((where & PCI_MSIX_PBA_OFFSET) >>> 0);
}

test(
  'irq.msix.pending',
  'a message raised while its vector has no eventfd is pending in the device, and is sent once when it has one',
  {
    covers: [VFIO_DEVICE_SET_IRQS],
    source: [`${INTRS} vfio_msi_set_vector_signal()`, 'PCI Local Bus Specification 3.0, 6.8.2.9'],
    devices: ['igb', 'igb-multi-1'],
  },
  (t) => {
    const driver = vectorDriver(t);
    const signals = [t.eventfd(), t.eventfd(), t.eventfd()];
    const msix = new Irqs(t.device, VFIO_PCI_MSIX_IRQ_INDEX);
    msix.enable(signals);
    for (let round = 0; round < 3; round++) {
      expect(pendingBits(t.device)).toBe(0);
      msix.enable([null], VECTOR);
      driver.raise(VECTOR);
      expect(signals[VECTOR]!.quiet()).toBe(0);
      expect(pendingBits(t.device)).toBe(1 << VECTOR);
      msix.enable([signals[VECTOR]!], VECTOR);
      expect(signals[VECTOR]!.soon(), 'kept').toBe(1);
      expect(signals.map((signal) => signal.quiet())).toEqual([0, 0, 0]);
      driver.acknowledge();
    }
  },
);
