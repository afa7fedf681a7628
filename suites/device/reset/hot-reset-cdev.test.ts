import {
  CDEV,
  OWN_MACHINE,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_PCI_DEVID_NOT_OWNED,
  VFIO_PCI_DEVID_OWNED,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID,
  VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED,
  bindTo,
  enableDevice,
  eventually,
  expect,
  hotResetInfo,
  runtimeStatus,
  scratchRegisters,
  test,
  tryHotReset,
  unbind,
  type Device,
} from '../../../harness/testing/index.ts';

const INFO = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_fill_devs()';
const UAPI = 'include/uapi/linux/vfio.h VFIO_DEVICE_GET_PCI_HOT_RESET_INFO';
const IOCTL = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_pci_hot_reset()';
const RESET = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_dev_set_hot_reset()';
const DEV_ID = VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.flag('VFIO_PCI_HOT_RESET_FLAG_DEV_ID');
const DEV_ID_OWNED = VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.flag(
  'VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED',
);
const ALL_OWNED = VFIO_PCI_HOT_RESET_FLAG_DEV_ID | VFIO_PCI_HOT_RESET_FLAG_DEV_ID_OWNED;
const NOT_ALL_OWNED = VFIO_PCI_HOT_RESET_FLAG_DEV_ID;
/** Two functions behind one port, in one group. */
const ONE_GROUP = { device: 'mf-a', uses: ['mf-b'], needs: [CDEV] };
/** Two functions behind one port, each in a group of its own. */
const TWO_GROUPS = { device: 'igb-multi-0', uses: ['igb-multi-1'], needs: [CDEV] };
const { offset: SCRATCH } = scratchRegisters('igb');

/** What the hot reset info says: its flags, and the id of each function. */
function info(device: Device): { flags: number; ids: Record<string, number> } {
  const { flags, devices } = hotResetInfo(device);
  return { flags, ids: Object.fromEntries(devices.map(({ bdf, id }) => [bdf, id])) };
}

/** Leaves a value in a register that every reset clears. */
function mark(device: Device, value: number): void {
  enableDevice(device);
  device.region(0).write32(SCRATCH, value);
}

function marked(device: Device): number {
  return device.region(0).read32(SCRATCH);
}

test(
  'device.hot-reset-cdev.info-single',
  'a device that was opened through its node is named by its id in the iommufd, and owned',
  {
    covers: [DEV_ID, DEV_ID_OWNED],
    source: [INFO, UAPI],
    devices: ['igb', 'edu-rp'],
    needs: [CDEV],
  },
  ({ openCdev, iommufd, pci }) => {
    const device = openCdev();
    const id = device.bind(iommufd());
    expect(info(device)).toEqual({ flags: ALL_OWNED, ids: { [pci.bdf]: id } });
  },
);

test(
  'device.hot-reset-cdev.info-same-group',
  'an unopened function in the group of an opened one is owned without an id, an opened one has its own',
  { covers: [DEV_ID, DEV_ID_OWNED], source: [INFO, UAPI], ...ONE_GROUP },
  ({ openCdev, iommufd, bound, pci }) => {
    const io = iommufd();
    const device = openCdev();
    const id = device.bind(io);
    const sibling = bound('mf-b');
    const alone = { flags: ALL_OWNED, ids: { [pci.bdf]: id, [sibling.bdf]: VFIO_PCI_DEVID_OWNED } };
    expect(info(device)).toEqual(alone);
    const other = openCdev('mf-b');
    expect(info(device)).toEqual(alone);
    const both = { flags: ALL_OWNED, ids: { [pci.bdf]: id, [sibling.bdf]: other.bind(io) } };
    expect(both.ids[sibling.bdf]).not.toBe(id);
    expect(info(device)).toEqual(both);
    expect(info(other)).toEqual(both);
    other.close();
    expect(info(device)).toEqual(alone);
  },
);

test(
  'device.hot-reset-cdev.info-other-group',
  'a function in another group is owned while it is bound to the same iommufd, and not to another',
  { covers: [DEV_ID, DEV_ID_OWNED], source: [INFO, UAPI], ...TWO_GROUPS },
  ({ openCdev, iommufd, bound, pci }) => {
    const io = iommufd();
    const device = openCdev();
    const id = device.bind(io);
    const sibling = bound('igb-multi-1');
    const notOwned = {
      flags: NOT_ALL_OWNED,
      ids: { [pci.bdf]: id, [sibling.bdf]: VFIO_PCI_DEVID_NOT_OWNED },
    };
    expect(info(device)).toEqual(notOwned);
    const foreign = openCdev('igb-multi-1');
    expect(info(device)).toEqual(notOwned);
    const theirs = foreign.bind(iommufd());
    expect(info(device)).toEqual(notOwned);
    expect(info(foreign)).toEqual({
      flags: NOT_ALL_OWNED,
      ids: { [pci.bdf]: VFIO_PCI_DEVID_NOT_OWNED, [sibling.bdf]: theirs },
    });
    foreign.close();
    const other = openCdev('igb-multi-1').bind(io);
    expect(info(device)).toEqual({
      flags: ALL_OWNED,
      ids: { [pci.bdf]: id, [sibling.bdf]: other },
    });
  },
);

test(
  'device.hot-reset-cdev.info-no-driver',
  'a function without the VFIO driver is not owned, be it in the group of an opened one',
  {
    covers: [DEV_ID],
    source: [INFO, UAPI],
    ...ONE_GROUP,
    needs: [CDEV, OWN_MACHINE],
  },
  ({ openCdev, iommufd, bound, pci, defer }) => {
    const sibling = bound('mf-b');
    unbind(sibling);
    defer(() => bindTo(sibling, 'vfio-pci'));
    const device = openCdev();
    const id = device.bind(iommufd());
    expect(info(device)).toEqual({
      flags: NOT_ALL_OWNED,
      ids: { [pci.bdf]: id, [sibling.bdf]: VFIO_PCI_DEVID_NOT_OWNED },
    });
    mark(device, 0xcafe);
    expect(tryHotReset(device, [])).toFailWith('EINVAL');
    expect(marked(device)).toBe(0xcafe);
  },
);

test(
  'device.hot-reset-cdev.single',
  'the owner of the only function behind a port resets it without naming a group',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET], source: [IOCTL, RESET], device: 'igb', needs: [CDEV] },
  ({ openCdev, iommufd, pci }) => {
    const device = openCdev();
    device.bind(iommufd());
    mark(device, 0xcafe);
    const fixed = () => [...device.config.read(0, 6), ...pci.config().subarray(8, 64)];
    const before = fixed();
    expect(tryHotReset(device, [])).toSucceed(0);
    expect(marked(device)).toBe(0);
    expect(fixed()).toEqual(before);
  },
);

test(
  'device.hot-reset-cdev.before-bind',
  'a device that is bound to no iommufd is not reset and does not say what a reset would do',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: 'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()',
    device: 'igb',
    needs: [CDEV],
  },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    expect(() => hotResetInfo(device)).toThrow('EINVAL');
    expect(tryHotReset(device, [])).toFailWith('EINVAL');
    device.bind(iommufd());
    expect(tryHotReset(device, [])).toSucceed(0);
  },
);

test(
  'device.hot-reset-cdev.groups-refused',
  'groups say nothing for a device that was opened through its node, its own group not being to be had',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: IOCTL,
    device: 'igb',
    uses: ['edu'],
    needs: [CDEV],
  },
  ({ openCdev, iommufd, openGroup }) => {
    const device = openCdev();
    device.bind(iommufd());
    mark(device, 0xcafe);
    expect(tryHotReset(device, [openGroup('edu').fd])).toFailWith('EINVAL');
    // The number of fds is looked at before the fds are.
    expect(tryHotReset(device, [9999])).toFailWith('EINVAL');
    expect(tryHotReset(device, [], { flags: 1 })).toFailWith('EINVAL');
    expect(tryHotReset(device, [], { argsz: 11 })).toFailWith('EINVAL');
    expect(marked(device)).toBe(0xcafe);
  },
);

test(
  'device.hot-reset-cdev.same-group',
  'a function of the same group is reset along, be it opened or not',
  { covers: [VFIO_DEVICE_PCI_HOT_RESET], source: RESET, ...ONE_GROUP },
  ({ openCdev, iommufd }) => {
    const io = iommufd();
    const device = openCdev();
    device.bind(io);
    mark(device, 0xcafe);
    expect(tryHotReset(device, [])).toSucceed(0);
    expect(marked(device)).toBe(0);
    const other = openCdev('mf-b');
    other.bind(io);
    mark(device, 1);
    mark(other, 2);
    expect(tryHotReset(other, [])).toSucceed(0);
    expect([marked(device), marked(other)]).toEqual([0, 0]);
  },
);

test(
  'device.hot-reset-cdev.other-group',
  'a function of another group forbids the reset until it is bound to the same iommufd, and is reset along then',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET, VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: RESET,
    ...TWO_GROUPS,
  },
  ({ openCdev, iommufd, map }) => {
    const io = iommufd();
    const device = openCdev();
    device.bind(io);
    enableDevice(device);
    const mine = map(device.region(0));
    mine.store32(SCRATCH, 0xcafe);
    expect(tryHotReset(device, [])).toFailWith('EINVAL');
    const foreign = openCdev('igb-multi-1');
    expect(tryHotReset(device, [])).toFailWith('EINVAL');
    foreign.bind(iommufd());
    mark(foreign, 0xbabe);
    for (const one of [device, foreign]) expect(tryHotReset(one, [])).toFailWith('EINVAL');
    expect([mine.load32(SCRATCH), marked(foreign)]).toEqual([0xcafe, 0xbabe]);
    foreign.close();
    const other = openCdev('igb-multi-1');
    other.bind(io);
    enableDevice(other);
    const theirs = map(other.region(0));
    theirs.store32(SCRATCH, 0xbabe);
    expect(tryHotReset(other, [])).toSucceed(0);
    expect([mine.load32(SCRATCH), theirs.load32(SCRATCH)]).toEqual([0, 0]);
  },
);

test(
  'device.hot-reset-cdev.mixed',
  'functions of which one was opened through its node and one through its group are not reset by either',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: 'include/uapi/linux/vfio.h VFIO_DEVICE_PCI_HOT_RESET',
    ...TWO_GROUPS,
  },
  ({ openCdev, iommufd, openGroup, openDevice, containerWith, bound }) => {
    const device = openCdev();
    device.bind(iommufd());
    const group = openGroup('igb-multi-1');
    containerWith(group);
    const other = openDevice(group, bound('igb-multi-1').bdf);
    mark(device, 1);
    mark(other, 2);
    expect(tryHotReset(device, [])).toFailWith('EINVAL');
    expect(tryHotReset(other, [])).toFailWith('EINVAL');
    expect(tryHotReset(other, [group.fd])).toFailWith('EINVAL');
    expect([marked(device), marked(other)]).toEqual([1, 2]);
    expect(info(other).flags).toBe(0);
  },
);

test(
  'device.hot-reset-cdev.then-group',
  'a device opened through its group is reset by its group again when its node was used before',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET],
    source: 'drivers/vfio/device_cdev.c vfio_df_unbind_iommufd(): cdev_opened',
    device: 'igb',
    needs: [CDEV],
  },
  ({ openCdev, iommufd, pci, openFreshGroup, containerWith, openDevice }) => {
    for (let round = 0; round < 2; round++) {
      const first = openCdev();
      first.bind(iommufd());
      expect(info(first).flags).toBe(ALL_OWNED);
      first.close();
      const group = openFreshGroup(pci.group!);
      containerWith(group);
      const device = openDevice(group);
      expect(info(device)).toEqual({ flags: 0, ids: { [pci.bdf]: Number(pci.group) } });
      expect(tryHotReset(device, [])).toFailWith('EINVAL');
      expect(tryHotReset(device, [group.fd])).toSucceed(0);
      device.close();
      group.close();
      expect(eventually(() => runtimeStatus(pci) === 'suspended')).toBe(true);
    }
  },
);

test(
  'device.hot-reset-cdev.iommufd-as-container',
  'a device whose group is in an iommufd is reset by its group, as in a container',
  {
    covers: [VFIO_DEVICE_PCI_HOT_RESET, VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL')],
    source: IOCTL,
    device: 'igb',
    needs: [CDEV],
  },
  ({ iommufd, openGroup, openDevice, pci }) => {
    const group = openGroup();
    expect(group.trySetContainer(iommufd().fd)).toSucceed(0);
    const device = openDevice(group);
    mark(device, 0xcafe);
    expect(info(device)).toEqual({ flags: 0, ids: { [pci.bdf]: Number(pci.group) } });
    expect(tryHotReset(device, [])).toFailWith('EINVAL');
    expect(marked(device)).toBe(0xcafe);
    expect(tryHotReset(device, [group.fd])).toSucceed(0);
    expect(marked(device)).toBe(0);
  },
);
