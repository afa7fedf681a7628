import {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
  enableDevice,
  expect,
  minorFaults,
  test,
} from '../../../harness/testing/index.ts';

test(
  'device.reset.unsupported',
  'a device without a reset says so and refuses to be reset',
  {
    covers: [VFIO_DEVICE_RESET.fails('EINVAL')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()',
    device: 'edu',
  },
  ({ device }) => {
    expect(device.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(0);
    expect(device.tryReset()).toFailWith('EINVAL');
  },
);

test(
  'device.reset.registers',
  'a reset gives the registers of the device their first values',
  {
    covers: [VFIO_DEVICE_RESET, VFIO_DEVICE_GET_INFO.flag('VFIO_DEVICE_FLAGS_RESET')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()',
    device: 'igb',
    peer: ['S5'],
  },
  ({ device }) => {
    const MTA = 0x5200;
    expect(device.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(VFIO_DEVICE_FLAGS_RESET);
    enableDevice(device);
    const bar = device.region(0).map();
    bar.store32(MTA, 0x1234_5678);
    expect(bar.load32(MTA)).toBe(0x1234_5678);
    device.reset();
    enableDevice(device);
    expect(bar.load32(MTA)).toBe(0);
    bar.unmap();
  },
);

test(
  'device.reset.mapping',
  'no mapping leads to a device while it is reset; the next access brings it back',
  {
    covers: [VFIO_DEVICE_RESET],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_reset()',
    devices: ['igb', 'nvme'],
  },
  ({ device, map }) => {
    enableDevice(device);
    const bar = map(device.region(0));
    const touch = () => minorFaults((program) => program.load(32, bar.address));
    touch();
    expect(touch()).toBe(0);
    device.reset();
    enableDevice(device);
    expect(touch()).toBe(1);
    expect(touch()).toBe(0);
  },
);
