import {
  Igb,
  Irqs,
  OWN_MACHINE,
  PCI_COMMAND,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_PCI_MSIX_IRQ_INDEX,
  bindTo,
  enableDevice,
  eventually,
  expect,
  runtimeStatus,
  scratchRegisters,
  setMemoryEnabled,
  test,
  tryHotReset,
  unbind,
} from '../../../harness/testing/index.ts';

const IOCTL = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset()';
const GROUPS = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset_groups()';
const RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_hot_reset()';

test(
  'device.hot-reset.single',
  'the owner of the only group behind a port resets the device: registers cleared, configuration kept',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET],
    source: RESET,
    devices: ['igb', 'e1000e', 'nvme'],
    peer: ['A11'],
  },
  ({ device, group, pci, role }) => {
    enableDevice(device);
    const { region: index, offset, cleared } = scratchRegisters(role);
    const region = device.region(index);
    region.write32(offset, 0x5a5a_5000);
    const fixed = (bytes: Buffer) => [...bytes.subarray(0, 6), ...bytes.subarray(8, 64)];
    const before = [fixed(device.config.read(0, 64)), fixed(pci.config())];
    expect(tryHotReset(device, [group.fd])).toSucceed(0);
    expect([fixed(device.config.read(0, 64)), fixed(pci.config())]).toEqual(before);
    if (cleared) expect(region.read32(offset)).toBe(0);
    region.write32(offset, 0x1234_5000);
    expect(region.read32(offset)).toBe(0x1234_5000);
  },
);

test(
  'device.hot-reset.argsz',
  'a structure without its fixed part, or with flags, is refused',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')], source: IOCTL, device: 'igb' },
  ({ device, group }) => {
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    device.region(0).write32(offset, 0x66);
    for (const argsz of [0, 8, 11]) {
      expect(tryHotReset(device, [group.fd], { argsz }), `argsz ${argsz}`).toFailWith('EINVAL');
    }
    for (const flags of [1, 2, 4, 0x8000_0000]) {
      expect(tryHotReset(device, [group.fd], { flags }), `flags ${flags}`).toFailWith('EINVAL');
    }
    expect(device.region(0).read32(offset)).toBe(0x66);
    expect(tryHotReset(device, [group.fd])).toSucceed(0);
  },
);

test(
  'device.hot-reset.count',
  'no group at all, or more groups than functions, is refused',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: [IOCTL, GROUPS],
    devices: ['igb', 'mf-a'],
  },
  ({ device, group, role }) => {
    const functions = role === 'mf-a' ? 2 : 1;
    expect(tryHotReset(device, [])).toFailWith('EINVAL');
    const repeated = (count: number) => Array.from({ length: count }, () => group.fd);
    expect(tryHotReset(device, repeated(functions + 1))).toFailWith('EINVAL');
    expect(tryHotReset(device, repeated(functions), { count: 0xffff_ffff })).toFailWith('EINVAL');
    expect(tryHotReset(device, repeated(functions))).toSucceed(0);
  },
);

test(
  'device.hot-reset.fds',
  'what is no open fd, or no group, is refused and resets nothing',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EBADF'), VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: GROUPS,
    device: 'igb',
  },
  ({ device, container, eventfd, group }) => {
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    device.region(0).write32(offset, 0x66);
    for (const fd of [-1, 9999]) expect(tryHotReset(device, [fd])).toFailWith('EBADF');
    for (const fd of [container.fd, device.fd, eventfd().fd]) {
      expect(tryHotReset(device, [fd])).toFailWith('EINVAL');
    }
    expect(device.region(0).read32(offset)).toBe(0x66);
    expect(tryHotReset(device, [group.fd])).toSucceed(0);
  },
);

test(
  'device.hot-reset.mixed-fds',
  'one bad fd behind a good one refuses the reset, and the good group stays usable',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EBADF')], source: GROUPS, device: 'mf-a' },
  ({ device, group, container }) => {
    expect(tryHotReset(device, [group.fd, 9999])).toFailWith('EBADF');
    expect(tryHotReset(device, [9999, group.fd])).toFailWith('EBADF');
    expect(tryHotReset(device, [group.fd, container.fd])).toFailWith('EINVAL');
    expect(tryHotReset(device, [group.fd, group.fd])).toSucceed(0);
  },
);

test(
  'device.hot-reset.foreign-group',
  'a group that does not hold the device gives no right to reset it',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: `${RESET}: vfio_dev_in_groups()`,
    device: 'igb',
    uses: ['edu-rp'],
  },
  ({ device, openRole, group }) => {
    enableDevice(device);
    const { offset } = scratchRegisters('igb');
    device.region(0).write32(offset, 0x66);
    const other = openRole('edu-rp');
    expect(tryHotReset(device, [other.group.fd])).toFailWith('EINVAL');
    expect(device.region(0).read32(offset)).toBe(0x66);
    expect(tryHotReset(device, [group.fd])).toSucceed(0);
    expect(device.region(0).read32(offset)).toBe(0);
  },
);

test(
  'device.hot-reset.one-group',
  'two functions of one group are reset together, by whichever is asked',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET], source: RESET, device: 'mf-a', uses: ['mf-b'] },
  ({ device, group, openRole }) => {
    const other = openRole('mf-b').device;
    const { offset } = scratchRegisters('mf-a');
    for (const asked of [device, other]) {
      for (const one of [device, other]) {
        enableDevice(one);
        one.region(0).write32(offset, 0xcafe);
        expect(one.region(0).read32(offset)).toBe(0xcafe);
      }
      expect(tryHotReset(asked, [group.fd])).toSucceed(0);
      expect([device.region(0).read32(offset), other.region(0).read32(offset)]).toEqual([0, 0]);
    }
  },
);

test(
  'device.hot-reset.two-groups',
  'functions of two groups are reset by the owner of both only, and then both are',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET, VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: RESET,
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
  },
  ({ device, group, openRole, map }) => {
    const other = openRole('igb-multi-1');
    const { offset } = scratchRegisters('igb');
    enableDevice(device);
    enableDevice(other.device);
    const mine = map(device.region(0));
    const theirs = map(other.device.region(0));
    const registers = () => [mine.load32(offset), theirs.load32(offset)];
    mine.store32(offset, 0xcafe);
    theirs.store32(offset, 0xbabe);
    const refused = [
      [group.fd],
      [other.group.fd],
      [group.fd, group.fd],
      [other.group.fd, other.group.fd],
    ];
    for (const fds of refused) {
      expect(tryHotReset(device, fds)).toFailWith('EINVAL');
      expect(tryHotReset(other.device, fds)).toFailWith('EINVAL');
    }
    expect(registers()).toEqual([0xcafe, 0xbabe]);
    expect(tryHotReset(device, [other.group.fd, group.fd])).toSucceed(0);
    expect(registers()).toEqual([0, 0]);
    mine.store32(offset, 0x1111);
    theirs.store32(offset, 0x2222);
    expect(tryHotReset(other.device, [group.fd, other.group.fd])).toSucceed(0);
    expect(registers()).toEqual([0, 0]);
  },
);

test(
  'device.hot-reset.closed-sibling',
  'a group suffices whose device is not open: owning it is what counts',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET],
    source: RESET,
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
  },
  ({ device, group, openGroup, container }) => {
    const { offset } = scratchRegisters('igb');
    enableDevice(device);
    device.region(0).write32(offset, 0xcafe);
    const other = openGroup('igb-multi-1');
    expect(tryHotReset(device, [group.fd, other.fd])).toSucceed(0);
    expect(device.region(0).read32(offset)).toBe(0);
    other.setContainer(container);
    expect(tryHotReset(device, [group.fd, other.fd])).toSucceed(0);
  },
);

test(
  'device.hot-reset.sleeping-sibling',
  'a function that sleeps because nobody has it open keeps its configuration through the reset, and sleeps again',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_pm_runtime_get()',
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
  },
  ({ device, group, openGroup, openDevice, bound, container }) => {
    const sibling = bound('igb-multi-1');
    const other = openGroup('igb-multi-1');
    other.setContainer(container);
    const asleep = () => runtimeStatus(sibling) === 'suspended';
    const header = () => sibling.config().subarray(0, 0x40).toString('hex');
    for (let round = 0; round < 2; round++) {
      expect(eventually(asleep)).toBe(true);
      const before = header();
      expect(tryHotReset(device, [group.fd, other.fd])).toSucceed(0);
      expect(eventually(asleep)).toBe(true);
      expect(header()).toBe(before);
    }
    const opened = openDevice(other, sibling.bdf);
    enableDevice(opened);
    const { offset } = scratchRegisters('igb');
    opened.region(0).write32(offset, 0x7788);
    expect(opened.region(0).read32(offset)).toBe(0x7788);
  },
);

test(
  'device.hot-reset.unbound-sibling',
  'a function without the VFIO driver behind the same port forbids the reset',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_resettable()',
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
    needs: [OWN_MACHINE],
  },
  ({ device, group, bound, defer }) => {
    const sibling = bound('igb-multi-1');
    const { offset } = scratchRegisters('igb');
    enableDevice(device);
    device.region(0).write32(offset, 0xcafe);
    unbind(sibling);
    defer(() => bindTo(sibling, 'vfio-pci'));
    expect(tryHotReset(device, [group.fd])).toFailWith('EINVAL');
    expect(device.region(0).read32(offset)).toBe(0xcafe);
  },
);

test(
  'device.hot-reset.mapping',
  'mappings show the device after a hot reset, and stay away where memory is disabled',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET],
    source: `${RESET}: vfio_pci_zap_bars()`,
    device: 'igb-multi-0',
    uses: ['igb-multi-1'],
  },
  ({ device, group, openRole, map }) => {
    const other = openRole('igb-multi-1');
    const { offset } = scratchRegisters('igb');
    enableDevice(device);
    enableDevice(other.device);
    const mine = map(device.region(0));
    const theirs = map(other.device.region(0));
    mine.store32(offset, 1);
    theirs.store32(offset, 2);
    setMemoryEnabled(other.device, false);
    expect(tryHotReset(device, [group.fd, other.group.fd])).toSucceed(0);
    expect(mine.load32(offset)).toBe(0);
    expect(theirs.tryLoad(32, offset)).toFailWith('EIO');
    setMemoryEnabled(other.device, true);
    expect(theirs.load32(offset)).toBe(0);
  },
);

test(
  'device.hot-reset.interrupts',
  'interrupts that were set up before a hot reset work after it',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET], source: RESET, device: 'igb' },
  ({ device, group, eventfd, defer }) => {
    const signals = [eventfd(), eventfd()];
    new Irqs(device, VFIO_PCI_MSIX_IRQ_INDEX).enable(signals);
    expect(tryHotReset(device, [group.fd])).toSucceed(0);
    const igb = new Igb(device);
    defer(() => igb.unmap());
    igb.raise(1);
    expect(signals[1]!.soon()).toBe(1);
    expect(signals[0]!.take()).toBe(0);
  },
);

test(
  'device.hot-reset.command',
  'a hot reset leaves the command register as the user had it',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET], source: RESET, devices: ['igb', 'edu-rp'] },
  ({ device, group, pci }) => {
    for (const bits of [0, 2, 4, 6]) {
      device.config.write16(PCI_COMMAND, bits);
      expect(tryHotReset(device, [group.fd])).toSucceed(0);
      expect(device.config.read16(PCI_COMMAND) & 7).toBe(bits);
      expect(pci.config().readUInt16LE(PCI_COMMAND) & 7).toBe(bits);
    }
  },
);
