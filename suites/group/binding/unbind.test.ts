import {
  Group,
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_TYPE1v2_IOMMU,
  bindAnew,
  bindTo,
  expect,
  hasGroupNode,
  lockedMemory,
  moduleUsers,
  startUnbinding,
  test,
  unbind,
} from '../../../harness/testing/index.ts';

const UNREGISTER = 'drivers/vfio/vfio_main.c vfio_unregister_group_dev()';
const REMOVE_GROUP = 'drivers/vfio/group.c vfio_device_remove_group()';
const NEEDS = { device: 'edu', needs: [OWN_MACHINE] };

test(
  'group.unbind.idle',
  'a device that nobody has open is unbound at once, and works again when it is bound again',
  { source: UNREGISTER, ...NEEDS },
  ({ pci, openGroup, containerWith, openDevice }) => {
    const users = moduleUsers('vfio_pci');
    for (let round = 0; round < 3; round++) {
      unbind(pci);
      expect(pci.driver).toBe(null);
      expect(hasGroupNode(pci.group!)).toBe(false);
      expect(Group.tryOpen(pci.group!)).toFailWith('ENOENT');
      bindTo(pci, 'vfio-pci');
    }
    expect(moduleUsers('vfio_pci')).toBe(users);
    containerWith(openGroup());
    expect(openDevice(openGroup()).config.read16(0)).toBe(pci.vendor);
  },
);

test(
  'group.unbind.after-use',
  'a device that was opened and closed many times is unbound at once',
  { source: UNREGISTER, ...NEEDS },
  (context) => {
    const writer = context.actor();
    const { group, pci } = context;
    for (let round = 0; round < 5; round++) group.getDevice(pci.bdf).close();
    const [one, two] = [group.getDevice(pci.bdf), group.getDevice(pci.bdf)];
    one.close();
    two.close();
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.ends()).toBe(true);
    expect(hasGroupNode(pci.group!)).toBe(false);
  },
);

test(
  'group.unbind.open-group',
  'an open group without open devices does not delay the unbinding, and is dead afterwards',
  {
    covers: [
      VFIO_GROUP_GET_STATUS.fails('ENODEV'),
      VFIO_GROUP_SET_CONTAINER.fails('ENODEV'),
      VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV'),
    ],
    source: REMOVE_GROUP,
    ...NEEDS,
  },
  ({ openGroup, emptyContainer, pci }) => {
    const group = openGroup();
    unbind(pci);
    expect(hasGroupNode(group.number)).toBe(false);
    expect(group.tryGetStatus()).toFailWith('ENODEV');
    expect(group.trySetContainer(emptyContainer())).toFailWith('ENODEV');
    expect(group.tryUnsetContainer()).toFailWith('EINVAL');
    expect(group.tryGetDevice(pci.bdf)).toFailWith('ENODEV');
    expect(group.tryGetStatus(7)).toFailWith('EINVAL');
  },
);

test(
  'group.unbind.in-container',
  'unbinding the last device of a group takes the group out of its container',
  {
    covers: [VFIO_GROUP_GET_STATUS.fails('ENODEV')],
    source: [REMOVE_GROUP, 'drivers/vfio/container.c vfio_group_detach_container()'],
    ...NEEDS,
  },
  ({ group, container, memory, pci }) => {
    const pages = memory({ size: 65536, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 65536n });
    expect(lockedMemory().VmLck - before.VmLck).toBe(64);
    unbind(pci);
    expect(lockedMemory()).toEqual(before);
    expect(container.tryUnmapDma({ iova: 0n, size: 65536n })).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    expect(group.tryGetStatus()).toFailWith('ENODEV');
    expect(group.tryUnsetContainer()).toFailWith('EINVAL');
  },
);

test(
  'group.unbind.other-group-stays',
  'unbinding the device of one group leaves the other groups of the container alone',
  { source: REMOVE_GROUP, ...NEEDS, uses: ['edu-rp'] },
  ({ container, device, openRole, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    const other = openRole('edu-rp');
    other.device.close();
    unbind(other.pci);
    expect(other.group.tryGetStatus()).toFailWith('ENODEV');
    expect(device.info().num_regions).toBeGreaterThan(0);
    expect(container.unmapDma({ iova: 0n, size: 4096n })).toBe(4096n);
  },
);

test(
  'group.unbind.bound-again',
  'a device that is bound again has a new group, and the dead fd of the old one does not disturb it',
  {
    covers: [VFIO_GROUP_GET_STATUS.fails('ENODEV')],
    source: [REMOVE_GROUP, 'drivers/vfio/group.c vfio_create_group()'],
    ...NEEDS,
  },
  ({ openGroup, containerWith, pci }) => {
    const dead = openGroup();
    bindAnew(pci, 'vfio-pci');
    const fresh = Group.open(pci.group!);
    try {
      expect(fresh.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
      expect(dead.tryGetStatus()).toFailWith('ENODEV');
      containerWith(fresh);
      dead.close();
      expect(Group.tryOpen(pci.group!)).toFailWith('EBUSY');
      fresh.getDevice(pci.bdf).close();
    } finally {
      fresh.close();
    }
  },
);

test(
  'group.unbind.one-of-two',
  'a group stays usable when one of its two devices is unbound, in a container as well',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: REMOVE_GROUP,
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [OWN_MACHINE],
  },
  ({ group, container, bound, pci, memory }) => {
    const sibling = bound('edu-pair-b');
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    unbind(sibling);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
    group.getDevice(pci.bdf).close();
    expect(container.unmapDma({ iova: 0n, size: 4096n })).toBe(4096n);
    bindTo(sibling, 'vfio-pci');
    group.getDevice(sibling.bdf).close();
    unbind(pci);
    expect(hasGroupNode(group.number)).toBe(true);
    expect(group.tryGetDevice(pci.bdf)).toFailWith('ENODEV');
    group.getDevice(sibling.bdf).close();
    unbind(sibling);
    expect(group.tryGetStatus()).toFailWith('ENODEV');
  },
);
