import {
  Group,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  expect,
  lockedMemory,
  test,
} from '../../harness/testing/index.ts';

const UNSET = 'drivers/vfio/group.c vfio_group_ioctl_unset_container()';
const DETACH = 'drivers/vfio/container.c vfio_group_detach_container()';
const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;

test(
  'group.container.unset-without',
  'a group that is in no container cannot leave it',
  { covers: [VFIO_GROUP_UNSET_CONTAINER.fails('EINVAL')], source: UNSET },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    expect(group.tryUnsetContainer()).toFailWith('EINVAL');
    group.setContainer(emptyContainer());
    group.unsetContainer();
    expect(group.tryUnsetContainer()).toFailWith('EINVAL');
  },
);

test(
  'group.container.unset-open-device',
  'a group does not leave its container while one of its devices is open',
  { covers: [VFIO_GROUP_UNSET_CONTAINER.fails('EBUSY')], source: UNSET },
  ({ group, container, openDevice, memory, pci }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const device = openDevice(group);
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    expect(group.status()).toBe(IN_CONTAINER);
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    expect(device.config.read16(0)).toBe(pci.vendor);
    device.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.container.unset-two-fds',
  'a group leaves its container only when the last fd of its device is closed',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER.fails('EBUSY')],
    source: [UNSET, 'drivers/vfio/container.c vfio_group_unuse_container()'],
  },
  ({ group, openDevice }) => {
    const first = openDevice(group);
    const second = openDevice(group);
    first.close();
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    second.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
  },
);

test(
  'group.container.unset-two-devices',
  'a group leaves its container only when the last of its devices is closed',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER.fails('EBUSY')],
    source: [UNSET, 'drivers/vfio/container.c vfio_group_use_container()'],
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
  },
  ({ openRole, group, device }) => {
    const other = openRole('edu-pair-b');
    device.close();
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    other.device.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
  },
);

test(
  'group.container.last-leaves',
  'the container of which the last group leaves loses its IOMMU and its mappings',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER],
    source: [DETACH, 'Documentation/driver-api/vfio.rst'],
  },
  ({ group, container, memory }) => {
    const pages = memory({ size: 16 * 4096, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0x100000n, vaddr: pages.address, size: 16n * 4096n });
    expect(lockedMemory().VmLck).toBe(before.VmLck + 64);
    group.unsetContainer();
    expect(lockedMemory()).toEqual(before);
    const again = { iova: 0x100000n, vaddr: pages.address, size: 4096n };
    expect(container.tryMapDma(again)).toFailWith('EINVAL');
    expect(container.tryUnmapDma({ iova: 0n, size: 4096n })).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    group.setContainer(container);
    container.setIommu(VFIO_TYPE1_IOMMU);
    expect(container.unmapDma({ iova: 0x100000n, size: 65536n })).toBe(0n);
    container.mapDma(again);
  },
);

test(
  'group.container.close-group-leaves',
  'closing a group takes it out of its container',
  {
    covers: [],
    source: ['drivers/vfio/group.c vfio_group_fops_release()', DETACH],
  },
  ({ group, container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    group.close();
    expect(lockedMemory()).toEqual(before);
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    Group.open(group.number).close();
  },
);

test(
  'group.container.move',
  'a group moves to another container of another type and leaves no mapping behind',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER],
    source: [DETACH, 'drivers/vfio/container.c vfio_container_attach_group()'],
  },
  ({ group, container, emptyContainer, memory, openDevice }) => {
    const pages = memory({ size: 8192, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
    group.unsetContainer();
    const other = emptyContainer();
    group.setContainer(other);
    other.setIommu(VFIO_TYPE1_IOMMU);
    expect(other.unmapDma({ iova: 0n, size: 8192n })).toBe(0n);
    other.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
    expect(openDevice(group).info().num_regions).toBeGreaterThan(0);
    expect(container.trySetIommu(VFIO_TYPE1_IOMMU)).toFailWith('EINVAL');
  },
);
