import {
  BEHIND_PORT,
  MAP_SHARED,
  OWN_MACHINE,
  O_CLOEXEC,
  O_RDWR,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PROT_READ,
  PROT_WRITE,
  RawConfig,
  VFIO_DEVICE_FLAGS_RESET,
  bindTo,
  enableDevice,
  eventually,
  expect,
  keepAwake,
  resetMethods,
  runtimeStatus,
  scratchRegisters,
  setResetMethods,
  sys,
  test,
  tryHotReset,
  unbind,
  type Device,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';

const TRY_RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_try_reset()';
const NEEDS_RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_needs_reset()';
const DISABLE = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable()';

/** Multicast table array, which a bus reset clears. */
const { offset: MTA } = scratchRegisters('e1000e');
const BAR_SIZE = 0x2_0000;

/** A BAR of a function that nobody has opened, as sysfs maps it. */
function mapSysfsBar(pci: PciFunction, bar: number, defer: TestContext['defer']): bigint {
  const fd = sys.open(`${pci.path}/resource${bar}`, O_RDWR | O_CLOEXEC);
  expect(fd).toBeGreaterThanOrEqual(0);
  const address = sys.mmap(0n, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  sys.close(fd);
  expect(address).toBeGreaterThan(0n);
  defer(() => void sys.munmap(address, BAR_SIZE));
  return address;
}

function mark(device: Device, value: number): void {
  enableDevice(device);
  device.region(0).write32(MTA, value);
  expect(device.region(0).read32(MTA)).toBe(value);
}

function marked(device: Device): number {
  enableDevice(device);
  return device.region(0).read32(MTA);
}

test(
  'device.close-reset.bus',
  'a device that has no reset of its own is reset with its bus when its user closes it',
  { covers: [], source: [TRY_RESET, NEEDS_RESET], device: 'e1000e', needs: [BEHIND_PORT] },
  ({ group, pci, openDevice, defer }) => {
    defer(setResetMethods(pci, []));
    const first = openDevice(group, pci.bdf);
    expect(first.info().flags & VFIO_DEVICE_FLAGS_RESET).toBe(0);
    mark(first, 0x1234_5678);
    first.close();
    const second = openDevice(group, pci.bdf);
    expect(marked(second)).toBe(0);
  },
);

test(
  'device.close-reset.last-of-bus',
  'of devices that only their bus can reset, the last one to be closed resets them all, no other does',
  {
    covers: [],
    source: [TRY_RESET, NEEDS_RESET],
    device: 'bridge-child-b',
    uses: ['bridge-child-a'],
  },
  ({ group, pci, bound, openDevice }) => {
    expect(resetMethods(pci)).toEqual([]);
    const sibling = openDevice(group, bound('bridge-child-a').bdf);
    const first = openDevice(group, pci.bdf);
    mark(first, 0x2468_ace0);
    first.close();
    const second = openDevice(group, pci.bdf);
    expect(marked(second)).toBe(0x2468_ace0);
    second.close();
    sibling.close();
    const third = openDevice(group, pci.bdf);
    expect(marked(third)).toBe(0);
  },
);

test(
  'device.close-reset.once',
  'a bus that was reset is not reset again when a function that can be reset alone is closed',
  {
    covers: [],
    source: TRY_RESET,
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    needs: [OWN_MACHINE],
  },
  ({ group, pci, bound, openRole, openDevice, defer }) => {
    bound('igb-multi-1');
    defer(setResetMethods(pci, []));
    const first = openDevice(group, pci.bdf);
    mark(first, 0x7777_8888);
    first.close();
    // Opened by VFIO it would be reset when it is closed: its register is reached through sysfs.
    defer(keepAwake(pci));
    const raw = new RawConfig(pci);
    defer(() => raw.close());
    const command = raw.read16(PCI_COMMAND);
    raw.write16(PCI_COMMAND, command | PCI_COMMAND_MEMORY);
    defer(() => raw.write16(PCI_COMMAND, command));
    const register = mapSysfsBar(pci, 0, defer) + BigInt(MTA);
    expect(sys.load(32, register).value).toBe(0n);
    sys.store(32, register, 0x9999_aaaan);
    openRole('igb-multi-1').device.close();
    expect(sys.load(32, register).value).toBe(0x9999_aaaan);
  },
);

test(
  'device.close-reset.other-groups',
  'functions of other groups that are open keep a device from being reset with its bus',
  { covers: [], source: NEEDS_RESET, device: 'igb-multi-0', uses: ['igb-multi-1'] },
  ({ group, pci, openRole, openDevice, defer }) => {
    const other = openRole('igb-multi-1').device;
    mark(other, 0x1111_2222);
    defer(setResetMethods(pci, []));
    const first = openDevice(group, pci.bdf);
    mark(first, 0x3333_4444);
    first.close();
    expect(marked(other)).toBe(0x1111_2222);
    const second = openDevice(group, pci.bdf);
    expect(marked(second)).toBe(0x3333_4444);
    second.close();
    other.close();
    const third = openDevice(group, pci.bdf);
    expect(marked(third)).toBe(0);
  },
);

test(
  'device.close-reset.foreign-function',
  'a function without the VFIO driver keeps a device from being reset with its bus',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_resettable()',
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    needs: [OWN_MACHINE],
  },
  ({ group, pci, bound, openDevice, defer }) => {
    const sibling = bound('igb-multi-1');
    defer(setResetMethods(pci, []));
    const first = openDevice(group, pci.bdf);
    mark(first, 0x5555_6666);
    unbind(sibling);
    first.close();
    const second = openDevice(group, pci.bdf);
    expect(marked(second)).toBe(0x5555_6666);
    bindTo(sibling, 'vfio-pci');
    second.close();
    const third = openDevice(group, pci.bdf);
    expect(marked(third)).toBe(0);
  },
);

test(
  'device.close-reset.function',
  'a device that can be reset alone is reset when its user closes it, and no other function with it',
  { covers: [], source: DISABLE, device: 'igb-multi-0', uses: ['igb-multi-1'] },
  ({ group, pci, openRole, openDevice, defer }) => {
    const other = openRole('igb-multi-1').device;
    mark(other, 0x1111_2222);
    const first = openDevice(group, pci.bdf);
    mark(first, 0x3333_4444);
    first.close();
    // The next user's open would reset it too.
    defer(setResetMethods(pci, []));
    expect(marked(openDevice(group, pci.bdf))).toBe(0);
    expect(marked(other)).toBe(0x1111_2222);
  },
);

test(
  'device.close-reset.interrupt-disable',
  'the command register a device had before it was opened comes back without its interrupts disabled',
  { covers: [], source: DISABLE, devices: ['edu', 'igb', 'e1000e'] },
  ({ group, pci, openDevice }) => {
    openDevice(group, pci.bdf).close();
    const hardware = () => pci.config().readUInt16LE(PCI_COMMAND);
    const changed = PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE;
    const command = hardware();
    expect(command & changed).toBe(0);
    const device = openDevice(group, pci.bdf);
    device.config.write16(PCI_COMMAND, PCI_COMMAND_MEMORY | changed);
    expect(hardware() & changed).toBe(changed);
    device.close();
    expect(hardware()).toBe(command);
    const second = openDevice(group, pci.bdf);
    expect(second.config.read16(PCI_COMMAND) & changed).toBe(0);
    expect(hardware() & changed).toBe(0);
  },
);

test(
  'device.hot-reset.nothing-held',
  'after hot resets, done and refused, groups can be closed and opened again, and devices go to sleep',
  {
    covers: [],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset_groups(): fput()',
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    risks: ['hot-reset'],
  },
  ({ pci, bound, containerWith, openFreshGroup, openDevice }) => {
    const sibling = bound('igb-multi-1');
    for (let round = 0; round < 2; round++) {
      const groups = [openFreshGroup(pci.group!), openFreshGroup(sibling.group!)];
      const container = containerWith(...groups);
      const [mine, theirs] = groups as [(typeof groups)[0], (typeof groups)[0]];
      const device = openDevice(mine, pci.bdf);
      expect(tryHotReset(device, [mine.fd])).toFailWith('EINVAL');
      expect(tryHotReset(device, [mine.fd, 9999])).toFailWith('EBADF');
      expect(tryHotReset(device, [theirs.fd, container.fd])).toFailWith('EINVAL');
      expect(tryHotReset(device, [mine.fd, theirs.fd, mine.fd])).toFailWith('EINVAL');
      expect(tryHotReset(device, [mine.fd, theirs.fd])).toSucceed(0);
      device.close();
      for (const group of groups) group.close();
      container.close();
      for (const one of [pci, sibling]) {
        expect(
          eventually(() => runtimeStatus(one) === 'suspended'),
          one.bdf,
        ).toBe(true);
      }
    }
  },
);
