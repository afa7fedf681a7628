import {
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_TYPE1v2_IOMMU,
  bindTo,
  expect,
  kernelModule,
  loadModule,
  lockedMemory,
  test,
  unbind,
} from '../../../harness/testing/index.ts';

const SOURCE = [
  'Documentation/driver-api/vfio.rst',
  'drivers/vfio/group.c vfio_group_ioctl_get_status()',
  'drivers/vfio/container.c vfio_container_attach_group()',
];
const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
/** Two e1000e in one slot, one group, one on VFIO and one for us to play with. */
const PAIR = {
  device: 'mf-a',
  uses: ['mf-b'],
  needs: [OWN_MACHINE, kernelModule('e1000e')],
};

test(
  'group.viability.sibling-driver',
  'a group with a member on a driver of the host is not viable and enters no container',
  {
    covers: [
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_VIABLE'),
      VFIO_GROUP_SET_CONTAINER.fails('EPERM'),
    ],
    source: SOURCE,
    ...PAIR,
  },
  ({ bound, openGroup, emptyContainer, pci }) => {
    const sibling = bound('mf-b');
    loadModule('e1000e');
    bindTo(sibling, 'e1000e');
    const group = openGroup();
    expect(group.status()).toBe(0);
    const container = emptyContainer();
    expect(group.trySetContainer(container)).toFailWith('EPERM');
    expect(group.trySetContainer(container)).toFailWith('EPERM');
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    // Nothing of the attempt is left, on either side.
    expect(group.status()).toBe(0);
    expect(group.tryUnsetContainer()).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    unbind(sibling);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    group.setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
  },
);

test(
  'group.viability.sibling-comes-and-goes',
  'an open group becomes viable and not viable as a member changes its driver',
  {
    covers: [VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_VIABLE')],
    source: SOURCE,
    ...PAIR,
  },
  ({ bound, openGroup }) => {
    const sibling = bound('mf-b');
    loadModule('e1000e');
    const group = openGroup();
    for (let round = 0; round < 2; round++) {
      bindTo(sibling, 'e1000e');
      expect(group.status()).toBe(0);
      bindTo(sibling, 'vfio-pci');
      expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    }
  },
);

test(
  'group.viability.sibling-without-driver',
  'a group is viable with a member that has no driver; that member cannot be opened',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: SOURCE,
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [OWN_MACHINE],
  },
  ({ bound, container, group, openDevice }) => {
    const sibling = bound('edu-pair-b');
    unbind(sibling);
    expect(group.status()).toBe(IN_CONTAINER);
    group.unsetContainer();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    group.setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    openDevice(group);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
  },
);

test(
  'group.viability.sibling-on-stub',
  'a group is viable with a member on pci-stub, also one that comes to it while the group is in use',
  {
    covers: [VFIO_GROUP_SET_CONTAINER],
    source: [...SOURCE, 'drivers/pci/pci-stub.c stub_driver (driver_managed_dma)'],
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [OWN_MACHINE, kernelModule('pci-stub')],
  },
  ({ bound, container, group, openDevice }) => {
    const sibling = bound('edu-pair-b');
    loadModule('pci-stub');
    bindTo(sibling, 'pci-stub');
    expect(sibling.driver).toBe('pci-stub');
    expect(group.status()).toBe(IN_CONTAINER);
    group.unsetContainer();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    group.setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    openDevice(group);
    expect(group.tryGetDevice(sibling.bdf)).toFailWith('ENODEV');
  },
);

test(
  'group.viability.second-group',
  'a group that is not viable enters no container that others use, and disturbs none of them',
  {
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EPERM')],
    source: SOURCE,
    device: 'edu',
    uses: ['mf-a', 'mf-b'],
    needs: [OWN_MACHINE, kernelModule('e1000e')],
  },
  ({ bound, container, openGroup, device, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 4096n });
    loadModule('e1000e');
    const other = openGroup('mf-a');
    bindTo(bound('mf-b'), 'e1000e');
    expect(other.trySetContainer(container)).toFailWith('EPERM');
    other.close();
    expect(lockedMemory().VmLck - before.VmLck).toBe(4);
    expect(device.info().num_regions).toBeGreaterThan(0);
    expect(container.unmapDma({ iova: 0n, size: 4096n })).toBe(4096n);
  },
);
