import {
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  Edu,
  expect,
  lockedMemory,
  mappingState,
  test,
} from '../../harness/testing/index.ts';

const ATTACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()';
const DETACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_detach_group()';
const CONTAINER_ATTACH = 'drivers/vfio/container.c vfio_container_attach_group()';
const CONTAINER_DETACH = 'drivers/vfio/container.c vfio_group_detach_container()';
const SIZE = 4n * 4096n;

test(
  'container.groups.before-set-iommu',
  'several groups can be in a container before the IOMMU is set',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_SET_IOMMU],
    source: 'drivers/vfio/container.c __vfio_container_attach_groups()',
    device: 'edu',
    uses: ['edu-rp', 'igb'],
  },
  ({ emptyContainer, openGroup, openDevice, bound }) => {
    const container = emptyContainer();
    const roles = ['edu', 'edu-rp', 'igb'];
    for (const role of roles) openGroup(role).setContainer(container);
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toSucceed(0);
    for (const role of roles) {
      expect(openGroup(role).status() & VFIO_GROUP_FLAGS_CONTAINER_SET).toBeTruthy();
      expect(openDevice(openGroup(role), bound(role).bdf).info().num_regions).toBeGreaterThan(0);
    }
  },
);

test(
  'container.groups.after-set-iommu',
  'groups can be added to a container that has its IOMMU',
  { covers: [VFIO_GROUP_SET_CONTAINER], source: CONTAINER_ATTACH, device: 'edu', uses: ['edu-rp'] },
  ({ container, openGroup, openDevice, bound }) => {
    expect(openGroup('edu-rp').trySetContainer(container)).toSucceed(0);
    const device = openDevice(openGroup('edu-rp'), bound('edu-rp').bdf);
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'container.groups.shared-mappings',
  'devices of all groups reach the mappings of their container, older and newer ones',
  {
    covers: [VFIO_IOMMU_MAP_DMA, VFIO_GROUP_SET_CONTAINER],
    source: ATTACH,
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, device, openRole, memory }) => {
    const pages = memory({ size: 2 * 4096, kind: '4k' });
    container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: 4096n });
    const first = new Edu(device);
    const second = new Edu(openRole('edu-rp').device);
    container.mapDma({ iova: 0x20000n, vaddr: pages.address + 4096n, size: 4096n });
    pages.fill(0x600d, 0, 4096);
    second.readMemory(0x10000n, 4096);
    second.writeMemory(0x20000n, 4096);
    expect(pages.verify(0x600d, 4096, 4096)).toBe(-1);
    pages.fill(0xf00d, 0, 4096);
    first.readMemory(0x10000n, 4096);
    first.writeMemory(0x20000n, 4096);
    expect(pages.verify(0xf00d, 4096, 4096)).toBe(-1);
    first.unmap();
    second.unmap();
  },
);

for (const { leaver, stayer } of [
  { leaver: 'edu', stayer: 'edu-rp' },
  { leaver: 'edu-rp', stayer: 'edu' },
]) {
  test(
    `container.groups.one-leaves.${leaver}`,
    'when one of two groups leaves, the mappings stay and the other device still reaches them',
    {
      covers: [VFIO_GROUP_UNSET_CONTAINER],
      source: [DETACH, CONTAINER_DETACH],
      device: 'edu',
      uses: ['edu-rp'],
    },
    ({ container, openGroup, openDevice, bound, memory }) => {
      openGroup('edu-rp').setContainer(container);
      const pages = memory({ size: Number(SIZE), kind: '4k' });
      container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: SIZE });
      const mapped = mappingState(container);
      const ranges = container.iovaRanges();
      openGroup(leaver).unsetContainer();
      expect(mappingState(container)).toEqual(mapped);
      expect(container.iovaRanges()).toEqual(ranges);
      const edu = new Edu(openDevice(openGroup(stayer), bound(stayer).bdf));
      pages.fill(0xbeef, 0, 4096);
      edu.readMemory(0x10000n, 4096);
      edu.writeMemory(0x10000n + 3n * 4096n, 4096);
      expect(pages.verify(0xbeef, 3 * 4096, 4096)).toBe(-1);
      edu.unmap();
      expect(container.unmapDma({ iova: 0x10000n, size: SIZE })).toBe(SIZE);
    },
  );
}

test(
  'container.groups.come-and-go',
  'a group can leave a container and come back while another one stays',
  { covers: [VFIO_GROUP_SET_CONTAINER], source: [ATTACH, DETACH], device: 'edu', uses: ['edu-rp'] },
  ({ container, openGroup, openDevice, bound, memory }) => {
    const pages = memory({ size: Number(SIZE), kind: '4k' });
    container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: SIZE });
    const mapped = mappingState(container);
    const group = openGroup('edu-rp');
    for (let round = 0; round < 4; round++) {
      expect(group.trySetContainer(container)).toSucceed(0);
      expect(mappingState(container)).toEqual(mapped);
      expect(group.tryUnsetContainer()).toSucceed(0);
      expect(mappingState(container)).toEqual(mapped);
    }
    group.setContainer(container);
    const edu = new Edu(openDevice(group, bound('edu-rp').bdf));
    pages.fill(7, 0, 4096);
    edu.readMemory(0x10000n, 4096);
    edu.writeMemory(0x11000n, 4096);
    expect(pages.verify(7, 4096, 4096)).toBe(-1);
    edu.unmap();
  },
);

test(
  'container.groups.last-leaves',
  'with the last group all mappings go: memory is unlocked and a new IOMMU starts empty',
  { covers: [VFIO_GROUP_UNSET_CONTAINER, VFIO_SET_IOMMU], source: [DETACH, CONTAINER_DETACH] },
  ({ container, openGroup, memory }) => {
    const pages = memory({ size: 8 * 4096, kind: '4k' });
    const empty = mappingState(container);
    for (let page = 0n; page < 8n; page++) {
      const iova = 0x10000n + page * 0x10000n;
      container.mapDma({ iova, vaddr: pages.address + page * 4096n, size: 4096n });
    }
    expect(lockedMemory().VmLck).toBe(empty.VmLck + 32);
    openGroup().unsetContainer();
    expect(lockedMemory().VmLck).toBe(empty.VmLck);
    openGroup().setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(mappingState(container)).toEqual(empty);
    expect(container.unmapDma({ iova: 0n, size: 0x100000n })).toBe(0n);
    const map = { iova: 0x10000n, vaddr: pages.address, size: 4096n };
    expect(container.tryMapDma(map)).toSucceed(0);
  },
);

test(
  'container.groups.last-of-two-leaves',
  'mappings go with the last of two groups, not with the first',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER],
    source: [DETACH, CONTAINER_DETACH],
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, openGroup, memory }) => {
    openGroup('edu-rp').setContainer(container);
    const pages = memory({ size: Number(SIZE), kind: '4k' });
    const before = lockedMemory().VmLck;
    container.mapDma({ iova: 0n, vaddr: pages.address, size: SIZE });
    openGroup('edu').unsetContainer();
    expect(lockedMemory().VmLck).toBe(before + 16);
    openGroup('edu-rp').unsetContainer();
    expect(lockedMemory().VmLck).toBe(before);
    expect(container.tryGetInfo(24)).toFailWith('EINVAL');
  },
);

test(
  'container.groups.independent-containers',
  'two containers have IOVA spaces of their own',
  { covers: [VFIO_IOMMU_MAP_DMA], source: ATTACH, device: 'edu', uses: ['edu-rp'] },
  ({ container, device, containerWith, openGroup, openDevice, bound, memory }) => {
    const other = containerWith(openGroup('edu-rp'));
    const mine = memory({ size: 4096, kind: '4k' });
    const theirs = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0x10000n, vaddr: mine.address, size: 4096n });
    expect(other.tryMapDma({ iova: 0x10000n, vaddr: theirs.address, size: 4096n })).toSucceed(0);
    mine.fill(1);
    theirs.fill(2);
    const first = new Edu(device);
    const second = new Edu(openDevice(openGroup('edu-rp'), bound('edu-rp').bdf));
    first.readMemory(0x10000n, 4096);
    second.readMemory(0x10000n, 4096);
    mine.fill(3);
    theirs.fill(4);
    first.writeMemory(0x10000n, 4096);
    second.writeMemory(0x10000n, 4096);
    expect(mine.verify(1)).toBe(-1);
    expect(theirs.verify(2)).toBe(-1);
    expect(other.unmapDma({ iova: 0x10000n, size: 4096n })).toBe(4096n);
    expect(container.unmapDma({ iova: 0x10000n, size: 4096n })).toBe(4096n);
    first.unmap();
    second.unmap();
  },
);

test(
  'container.groups.device-holds-group',
  'a group does not leave its container while a device of it is open',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER.fails('EBUSY')],
    source: 'drivers/vfio/group.c vfio_group_ioctl_unset_container()',
  },
  ({ container, openGroup, openDevice, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    const before = mappingState(container);
    const group = openGroup();
    const device = openDevice(group);
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    expect(mappingState(container)).toEqual(before);
    device.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
    expect(group.tryUnsetContainer()).toFailWith('EINVAL');
  },
);
