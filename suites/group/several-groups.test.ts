import {
  Edu,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  expect,
  lockedMemory,
  test,
} from '../../harness/testing/index.ts';

const ATTACH = 'drivers/vfio/container.c vfio_container_attach_group()';
const ATTACH_ALL = 'drivers/vfio/container.c __vfio_container_attach_groups()';
const DETACH = 'drivers/vfio/container.c vfio_group_detach_container()';
const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
const TWO = { device: 'edu', uses: ['edu-rp'] };
const PAGE = 4096n;

for (const [name, type] of [
  ['type1', VFIO_TYPE1_IOMMU],
  ['type1v2', VFIO_TYPE1v2_IOMMU],
] as const) {
  test(
    `group.groups.set-iommu-with-two.${name}`,
    'SET_IOMMU attaches all groups of the container',
    { covers: [VFIO_SET_IOMMU], source: ATTACH_ALL, ...TWO },
    ({ openGroup, emptyContainer, openDevice, bound, memory }) => {
      const container = emptyContainer();
      const groups = ['edu', 'edu-rp'].map((role) => openGroup(role));
      for (const group of groups) group.setContainer(container);
      container.setIommu(type);
      const pages = memory({ size: 8192, kind: '4k' });
      container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
      ['edu', 'edu-rp'].forEach((role, index) => {
        const edu = new Edu(openDevice(groups[index]!, bound(role).bdf));
        pages.fill(index + 1, 0, 4096);
        edu.readMemory(0n, 4096);
        edu.writeMemory(PAGE, 4096);
        expect(pages.verify(index + 1, 4096, 4096)).toBe(-1);
        edu.unmap();
      });
    },
  );
}

test(
  'group.groups.joins-later',
  'a group that joins a container in use sees the mappings made before',
  { covers: [VFIO_GROUP_SET_CONTAINER], source: ATTACH, ...TWO },
  ({ container, openRole, memory, device }) => {
    const pages = memory({ size: 8192, kind: '4k' });
    pages.fill(7, 0, 4096);
    container.mapDma({ iova: 0x40000n, vaddr: pages.address, size: 8192n });
    const other = openRole('edu-rp');
    expect(other.group.status()).toBe(IN_CONTAINER);
    const edu = new Edu(other.device);
    edu.readMemory(0x40000n, 4096);
    edu.writeMemory(0x41000n, 4096);
    expect(pages.verify(7, 4096, 4096)).toBe(-1);
    edu.unmap();
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'group.groups.one-leaves',
  'a group that leaves takes no mapping from those that stay',
  { covers: [VFIO_GROUP_UNSET_CONTAINER], source: DETACH, ...TWO },
  ({ container, openRole, memory, device }) => {
    const pages = memory({ size: 8192, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
    const other = openRole('edu-rp');
    other.device.close();
    other.group.unsetContainer();
    expect(other.group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    expect(lockedMemory().VmLck - before.VmLck).toBe(8);
    const edu = new Edu(device);
    pages.fill(3, 0, 4096);
    edu.readMemory(0n, 4096);
    edu.writeMemory(PAGE, 4096);
    expect(pages.verify(3, 4096, 4096)).toBe(-1);
    edu.unmap();
    expect(container.unmapDma({ iova: 0n, size: 8192n })).toBe(8192n);
  },
);

test(
  'group.groups.unset-only-own-devices',
  'an open device keeps its own group in the container, not the others',
  { covers: [VFIO_GROUP_UNSET_CONTAINER.fails('EBUSY')], source: DETACH, ...TWO },
  ({ openRole, group, device }) => {
    const other = openRole('edu-rp');
    device.close();
    expect(other.group.tryUnsetContainer()).toFailWith('EBUSY');
    expect(group.tryUnsetContainer()).toSucceed(0);
    other.device.close();
    expect(other.group.tryUnsetContainer()).toSucceed(0);
  },
);

test(
  'group.groups.first-leaves',
  'a container keeps its IOMMU until the last of its groups has left, in whatever order',
  { covers: [VFIO_GROUP_UNSET_CONTAINER, VFIO_SET_IOMMU.fails('EINVAL')], source: DETACH, ...TWO },
  ({ container, openRole, group, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const other = openRole('edu-rp');
    other.device.close();
    group.unsetContainer();
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    group.setContainer(container);
    other.group.unsetContainer();
    expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
    group.unsetContainer();
    expect(container.tryUnmapDma({ iova: 0n, size: PAGE })).toFailWith('EINVAL');
  },
);

test(
  'group.groups.two-containers',
  'two groups in two containers have nothing in common',
  { covers: [VFIO_GROUP_SET_CONTAINER], source: ATTACH, ...TWO },
  ({ container, openGroup, emptyContainer, openDevice, bound, device, memory }) => {
    const second = emptyContainer();
    const group = openGroup('edu-rp');
    group.setContainer(second);
    second.setIommu(VFIO_TYPE1_IOMMU);
    const [mine, theirs] = [memory({ size: 8192, kind: '4k' }), memory({ size: 8192, kind: '4k' })];
    container.mapDma({ iova: 0n, vaddr: mine.address, size: 8192n });
    second.mapDma({ iova: 0n, vaddr: theirs.address, size: 8192n });
    mine.fill(1, 0, 4096);
    theirs.fill(2, 0, 4096);
    for (const edu of [new Edu(device), new Edu(openDevice(group, bound('edu-rp').bdf))]) {
      edu.readMemory(0n, 4096);
      edu.writeMemory(PAGE, 4096);
      edu.unmap();
    }
    expect(mine.verify(1, 4096, 4096)).toBe(-1);
    expect(theirs.verify(2, 4096, 4096)).toBe(-1);
  },
);

test(
  'group.groups.moves-while-other-stays',
  'a group that moves to another container sees that one’s mappings only',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_UNSET_CONTAINER],
    source: [ATTACH, DETACH],
    ...TWO,
  },
  ({ container, openRole, containerWith, openDevice, memory }) => {
    const [old, fresh] = [memory({ size: 8192, kind: '4k' }), memory({ size: 8192, kind: '4k' })];
    container.mapDma({ iova: 0n, vaddr: old.address, size: 8192n });
    const mover = openRole('edu-rp');
    mover.device.close();
    mover.group.unsetContainer();
    const second = containerWith(mover.group);
    second.mapDma({ iova: 0n, vaddr: fresh.address, size: 8192n });
    old.fill(1);
    fresh.fill(2, 0, 4096);
    const edu = new Edu(openDevice(mover.group, mover.pci.bdf));
    edu.readMemory(0n, 4096);
    edu.writeMemory(PAGE, 4096);
    edu.unmap();
    expect(fresh.verify(2, 4096, 4096)).toBe(-1);
    expect(old.verify(1)).toBe(-1);
  },
);
