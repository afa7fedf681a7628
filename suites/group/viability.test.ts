import {
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  bindTo,
  endpointsOfGroup,
  expect,
  loadModule,
  test,
  unbind,
} from '../../harness/testing/index.ts';

test(
  'group.viability.sibling-driver',
  'a group with a member on a driver of the host is not viable and enters no container',
  {
    covers: [
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_VIABLE'),
      VFIO_GROUP_SET_CONTAINER.fails('EPERM'),
    ],
    source: 'drivers/vfio/group.c vfio_group_ioctl_set_container()',
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [OWN_MACHINE],
  },
  ({ bound, openGroup, emptyContainer, defer }) => {
    const sibling = bound('edu-pair-b');
    loadModule('pci-stub');
    unbind(sibling);
    expect(endpointsOfGroup(sibling)).toHaveLength(2);
    const group = openGroup();
    defer(() => bindTo(sibling, 'vfio-pci'));
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);
