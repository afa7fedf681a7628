import {
  Edu,
  OWN_MACHINE,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  VFIO_GROUP_GET_DEVICE_FD,
  expect,
  setCommand,
  startUnbinding,
  test,
} from '../../harness/testing/index.ts';

const PAIR = { device: 'edu-pair-a', uses: ['edu-pair-b'] };
const FROM_NAME = 'drivers/vfio/group.c vfio_device_get_from_name()';

test(
  'group.devices.by-name',
  'a group opens the device that was named, not another of its members',
  { covers: [VFIO_GROUP_GET_DEVICE_FD], source: FROM_NAME, ...PAIR },
  ({ openRole, device }) => {
    const other = openRole('edu-pair-b').device;
    const [one, two] = [new Edu(device), new Edu(other)];
    one.raise(undefined, 0x10);
    expect(one.interruptStatus()).toBe(0x10);
    expect(two.interruptStatus()).toBe(0);
    one.acknowledge();
    two.raise(undefined, 0x20);
    expect(one.interruptStatus()).toBe(0);
    two.acknowledge();
    one.unmap();
    two.unmap();
  },
);

test(
  'group.devices.own-state',
  'each device of a group has its own open count and its own state',
  { source: 'drivers/vfio/vfio_main.c vfio_df_open()', ...PAIR },
  ({ openRole, openDevice, group, device }) => {
    const other = openRole('edu-pair-b').device;
    setCommand(device, { set: PCI_COMMAND_MASTER });
    setCommand(other, { set: PCI_COMMAND_MASTER });
    device.close();
    // Only the device whose last fd was closed is reset.
    expect(other.config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
    const again = openDevice(group);
    expect(again.config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(0);
    expect(other.config.read16(PCI_COMMAND) & PCI_COMMAND_MASTER).toBe(PCI_COMMAND_MASTER);
  },
);

test(
  'group.devices.same-mappings',
  'all devices of a group see the mappings of their container',
  { source: 'Documentation/driver-api/vfio.rst', ...PAIR },
  ({ openRole, container, device, memory }) => {
    const other = openRole('edu-pair-b').device;
    const pages = memory({ size: 8192, kind: '4k' });
    container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: 8192n });
    pages.fill(1, 0, 4096);
    const [one, two] = [new Edu(device), new Edu(other)];
    one.readMemory(0x10000n, 4096);
    one.writeMemory(0x11000n, 4096);
    expect(pages.read(4096, 4096).equals(pages.read(0, 4096))).toBe(true);
    pages.fill(2, 0, 4096);
    two.readMemory(0x10000n, 4096);
    two.writeMemory(0x11000n, 4096);
    expect(pages.read(4096, 4096).equals(pages.read(0, 4096))).toBe(true);
    one.unmap();
    two.unmap();
  },
);

test(
  'group.devices.unbind-closed-sibling',
  'a closed device is unbound at once while its sibling is open, and is opened no more',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: 'drivers/vfio/vfio_main.c vfio_unregister_group_dev()',
    ...PAIR,
    needs: [OWN_MACHINE],
  },
  (context) => {
    const writer = context.actor();
    const { bound, group, device, container, openDevice } = context;
    const sibling = bound('edu-pair-b');
    openDevice(group, sibling.bdf).close();
    const unbinding = startUnbinding(writer, sibling);
    expect(unbinding.ends()).toBe(true);
    expect(sibling.driver).toBe(null);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
    expect(device.info().num_regions).toBeGreaterThan(0);
    expect(container.unmapDma({ iova: 0n, size: 4096n })).toBe(0n);
  },
);

test(
  'group.devices.unbind-open-sibling',
  'unbinding an open device waits for that device, not for its sibling',
  {
    source: 'drivers/vfio/vfio_main.c vfio_unregister_group_dev()',
    ...PAIR,
    needs: [OWN_MACHINE],
    provokes: [/No device request channel registered/],
  },
  (context) => {
    const writer = context.actor();
    const { openRole, device } = context;
    const { device: other, pci: sibling } = openRole('edu-pair-b');
    const unbinding = startUnbinding(writer, sibling);
    expect(unbinding.blocks()).toBe(true);
    other.close();
    expect(unbinding.ends()).toBe(true);
    expect(sibling.driver).toBe(null);
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);
