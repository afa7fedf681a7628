import {
  PCI_BASE_ADDRESS_0,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_DEVICE_ID,
  PCI_VENDOR_ID,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_MMAP,
  expect,
  test,
} from '../../../harness/testing/index.ts';

const CONFIG = 'drivers/vfio/pci/vfio_pci_config.c';
const DEVICES = ['edu', 'e1000e', 'igb', 'nvme'];

test(
  'device.info',
  'a PCI device says so, with its regions and interrupt indexes',
  {
    covers: [VFIO_DEVICE_GET_INFO.flag('VFIO_DEVICE_FLAGS_PCI')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_info()',
    devices: DEVICES,
    peer: ['L4'],
  },
  ({ device }) => {
    const info = device.info();
    expect(info.flags & VFIO_DEVICE_FLAGS_PCI).toBe(VFIO_DEVICE_FLAGS_PCI);
    expect(info.num_regions).toBe(9);
    expect(info.num_irqs).toBe(5);
  },
);

test(
  'device.config.ids',
  'vendor and device id read through VFIO are those of the device',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO],
    source: `${CONFIG} init_pci_cap_basic_perm()`,
    devices: DEVICES,
    peer: ['S1'],
  },
  ({ device, pci }) => {
    expect(device.config.read16(PCI_VENDOR_ID)).toBe(pci.vendor);
    expect(device.config.read16(PCI_DEVICE_ID)).toBe(pci.device);
  },
);

test(
  'device.config.ids-read-only',
  'vendor and device id cannot be written',
  { source: `${CONFIG} init_pci_cap_basic_perm()`, devices: DEVICES },
  ({ device, pci }) => {
    device.config.write32(PCI_VENDOR_ID, 0xdead_beef);
    expect(device.config.read16(PCI_VENDOR_ID)).toBe(pci.vendor);
    expect(device.config.read16(PCI_DEVICE_ID)).toBe(pci.device);
  },
);

test(
  'device.config.bus-master',
  'bus mastering is off at open and goes on and off by the command register',
  {
    source: `${CONFIG} vfio_basic_config_write()`,
    devices: DEVICES,
    peer: ['S2', 'S3'],
  },
  ({ device, pci }) => {
    const { config } = device;
    const master = () => [
      config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER,
      pci.config().readUInt16LE(PCI_COMMAND) & PCI_COMMAND_MASTER,
    ];
    expect(master()).toEqual([0, 0]);
    const command = config.read16(PCI_COMMAND);
    config.write16(PCI_COMMAND, command | PCI_COMMAND_MASTER);
    expect(master()).toEqual([PCI_COMMAND_MASTER, PCI_COMMAND_MASTER]);
    config.write16(PCI_COMMAND, command);
    expect(master()).toEqual([0, 0]);
  },
);

test(
  'device.config.bar-sizing',
  'sizing BAR 0 tells its size and does not reach the hardware',
  { source: `${CONFIG} vfio_bar_fixup()`, devices: DEVICES },
  ({ device, pci }) => {
    const { config } = device;
    const before = config.read32(PCI_BASE_ADDRESS_0);
    config.write32(PCI_BASE_ADDRESS_0, 0xffff_ffff);
    const size = ~(config.read32(PCI_BASE_ADDRESS_0) & ~0xf) + 1;
    expect(BigInt(size >>> 0)).toBe(pci.resources()[0]!.size);
    expect(pci.config().readUInt32LE(PCI_BASE_ADDRESS_0)).toBe(before);
    config.write32(PCI_BASE_ADDRESS_0, before);
    expect(config.read32(PCI_BASE_ADDRESS_0)).toBe(before);
  },
);

test(
  'device.config.no-mmap',
  'the configuration space cannot be mapped',
  {
    covers: [VFIO_DEVICE_GET_REGION_INFO],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_mmap()',
    peer: ['L4'],
  },
  ({ device }) => {
    const region = device.region(VFIO_PCI_CONFIG_REGION_INDEX);
    expect(region.info.flags & VFIO_REGION_INFO_FLAG_MMAP).toBe(0);
    expect(region.tryMap({ size: 4096n })).toFailWith('EINVAL');
  },
);
