import {
  Irqs,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_INTX_IRQ_INDEX,
  deviceDisIntx,
  eventually,
  expect,
  lineDriver,
  runtimeStatus,
  test,
  type TestContext,
} from '../../../harness/testing/index.ts';

const SOURCE = [
  'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_runtime_suspend()',
  'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_runtime_resume()',
];

/** Into low power and, once the device is suspended, out of it. */
function suspendAndResume({ device, pci }: TestContext): void {
  device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY).must();
  expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
  device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT).must();
  expect(eventually(() => runtimeStatus(pci) === 'active')).toBe(true);
}

for (const before of ['unmasked', 'masked'] as const) {
  test(
    `irq.intx.low-power.${before}`,
    `INTx that is ${before} when the device goes to low power is so again when it is back`,
    { covers: [VFIO_DEVICE_SET_IRQS], source: SOURCE, device: 'e1000e' },
    (t) => {
      const signal = t.eventfd();
      const intx = new Irqs(t.device, VFIO_PCI_INTX_IRQ_INDEX);
      const driver = lineDriver(t);
      intx.enable([signal]);
      if (before === 'masked') intx.mask();
      suspendAndResume(t);
      expect(deviceDisIntx(t.pci)).toBe(before === 'masked');
      expect(signal.quiet()).toBe(0);
      const again = lineDriver(t);
      driver.acknowledge();
      again.raise();
      if (before === 'masked') {
        expect(signal.quiet()).toBe(0);
        intx.unmask();
      }
      expect(signal.soon()).toBe(1);
    },
  );
}
