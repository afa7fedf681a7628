import {
  Edu,
  Irqs,
  PCI_CAP_ID_PM,
  PCI_COMMAND,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_PCI_INTX_IRQ_INDEX,
  deviceDisIntx,
  enableDevice,
  eventually,
  expect,
  findCapability,
  runtimeStatus,
  setMemoryEnabled,
  test,
  type Device,
  type PciFunction,
} from '../../../harness/testing/index.ts';

const SUSPEND = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_runtime_suspend()';
const RESUME = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_runtime_resume()';
const EXIT = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_runtime_pm_exit()';
const COVERS = [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY')];

/** Enters the low power state and waits until the device is suspended. */
function sleep(device: Device, pci: PciFunction): void {
  device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY).must();
  expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
}

function wake(device: Device): void {
  device.tryFeature(VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT).must();
}

test(
  'device.low-power.config',
  'the configuration survives the low power state',
  { covers: COVERS, source: RESUME, devices: ['edu', 'igb', 'nvme', 'e1000e'] },
  ({ device, pci }) => {
    enableDevice(device);
    device.config.write8(0x3c, 0x21);
    device.config.write8(0x0c, 0x10);
    const fixed = (bytes: Buffer) => [...bytes.subarray(0, 6), ...bytes.subarray(8, 64)];
    const before = [fixed(device.config.read(0, 64)), fixed(pci.config())];
    sleep(device, pci);
    wake(device);
    expect([fixed(device.config.read(0, 64)), fixed(pci.config())]).toEqual(before);
  },
);

test(
  'device.low-power.from-d3hot',
  'a device that was in D3hot before the low power state is in D0 after it, with its configuration',
  { covers: COVERS, source: SUSPEND, devices: ['igb', 'nvme', 'e1000e'] },
  ({ device, pci }) => {
    enableDevice(device);
    const at = findCapability(device.config, PCI_CAP_ID_PM)! + 4;
    const command = device.config.read16(PCI_COMMAND);
    const bars = pci.config().subarray(0x10, 0x28).toString('hex');
    device.config.write16(at, 3);
    sleep(device, pci);
    wake(device);
    expect(device.config.read16(at) & 3).toBe(0);
    expect(device.config.read16(PCI_COMMAND)).toBe(command);
    expect(pci.config().subarray(0x10, 0x28).toString('hex')).toBe(bars);
    expect(device.region(0).tryRead(0, 4)).toSucceed(4);
  },
);

test(
  'device.low-power.memory-disabled',
  'leaving the low power state does not enable memory that the user has disabled',
  { covers: COVERS, source: EXIT, devices: ['edu', 'igb'] },
  ({ device, pci, map }) => {
    const mapping = map(device.region(0), { size: 4096n });
    setMemoryEnabled(device, false);
    sleep(device, pci);
    wake(device);
    expect(mapping.tryLoad(32, 0)).toFailWith('EIO');
    expect(device.region(0).tryRead(0, 4)).toFailWith('EIO');
    setMemoryEnabled(device, true);
    expect(mapping.tryLoad(32, 0)).toSucceed();
  },
);

test(
  'device.low-power.intx',
  'INTx is off while the device sleeps and works again afterwards',
  { covers: COVERS, source: [SUSPEND, RESUME], device: 'edu' },
  ({ device, pci, eventfd, defer }) => {
    const edu = new Edu(device);
    defer(() => edu.unmap());
    const signal = eventfd();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    expect(deviceDisIntx(pci)).toBe(false);
    sleep(device, pci);
    wake(device);
    expect(deviceDisIntx(pci)).toBe(false);
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
    intx.unmask();
    edu.raise();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
  },
);

test(
  'device.low-power.intx-masked',
  'INTx that the user masked before the device slept stays masked when it wakes',
  { covers: COVERS, source: `${SUSPEND}: pm_intx_masked`, device: 'edu' },
  ({ device, pci, eventfd, defer }) => {
    const edu = new Edu(device);
    defer(() => edu.unmap());
    const signal = eventfd();
    const intx = new Irqs(device, VFIO_PCI_INTX_IRQ_INDEX);
    intx.enable([signal]);
    intx.mask();
    sleep(device, pci);
    wake(device);
    edu.raise();
    expect(signal.quiet()).toBe(0);
    intx.unmask();
    expect(signal.soon()).toBe(1);
    edu.acknowledge();
  },
);
