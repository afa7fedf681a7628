import {
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  bindTo,
  expect,
  loadModule,
  test,
} from '../../harness/testing/index.ts';

test(
  'group.viability.sibling-driver',
  'a group with a member on a driver of the host is not viable and enters no container',
  {
    covers: [
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_VIABLE'),
      VFIO_GROUP_SET_CONTAINER.fails('EPERM'),
    ],
    source: [
      'Documentation/driver-api/vfio.rst',
      'drivers/vfio/group.c vfio_group_ioctl_set_container()',
    ],
    device: 'mf-a',
    uses: ['mf-b'],
    needs: [OWN_MACHINE],
  },
  ({ bound, openGroup, emptyContainer, defer }) => {
    const sibling = bound('mf-b');
    loadModule('e1000e');
    bindTo(sibling, 'e1000e');
    defer(() => bindTo(sibling, 'vfio-pci'));
    const group = openGroup();
    expect(group.status() & VFIO_GROUP_FLAGS_VIABLE).toBe(0);
    expect(group.trySetContainer(emptyContainer())).toFailWith('EPERM');
  },
);
