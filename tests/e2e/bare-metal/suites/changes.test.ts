/** Tests that change a device in every way in which one that is killed may leave it. */
import {
  Irqs,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_PCI_INTX_IRQ_INDEX,
  enableDevice,
  resetMethods,
  setResetMethods,
  test,
} from '../../../../harness/testing/index.ts';

const SOURCE = 'tests/e2e/bare-metal/suites/changes.test.ts';

test(
  'e2e.changes',
  'registers, interrupts, reset methods and power of a device are changed',
  { source: SOURCE, devices: ['edu', 'igb', 'e1000e', 'nvme'] },
  ({ device, pci, eventfd, defer }) => {
    enableDevice(device);
    device.config.write8(0x3c, 0x5b);
    new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX).enable([eventfd()]);
    for (const method of resetMethods(pci)) {
      defer(setResetMethods(pci, [method]));
      device.tryReset();
    }
    device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY);
  },
);
