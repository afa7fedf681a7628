import {
  Group,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  expect,
  test,
} from '../../harness/testing/index.ts';

test(
  'group.open.exclusive',
  'a group is opened by one user at a time',
  { covers: [], source: 'drivers/vfio/group.c vfio_group_fops_open()' },
  ({ openGroup }) => {
    const group = openGroup();
    expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
  },
);

test(
  'group.status.viable',
  'a group whose members are bound to VFIO is viable, and says when it is in a container',
  {
    covers: [
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_VIABLE'),
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_CONTAINER_SET'),
    ],
    source: 'drivers/vfio/group.c vfio_group_ioctl_get_status()',
    peer: ['L2', 'A1'],
  },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    group.setContainer(emptyContainer());
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
    group.unsetContainer();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.status.argsz',
  'GET_STATUS with a structure that is too short is refused',
  {
    covers: [VFIO_GROUP_GET_STATUS.fails('EINVAL')],
    source: 'drivers/vfio/group.c vfio_group_ioctl_get_status()',
  },
  ({ openGroup }) => {
    expect(openGroup().tryGetStatus(7)).toFailWith('EINVAL');
  },
);

test(
  'group.container.twice',
  'a group is in one container at a time',
  {
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EINVAL')],
    source: 'drivers/vfio/group.c vfio_group_ioctl_set_container()',
  },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    group.setContainer(emptyContainer());
    expect(group.trySetContainer(emptyContainer())).toFailWith('EINVAL');
  },
);

test(
  'group.container.unset-without',
  'a group that is in no container cannot leave it',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER.fails('EINVAL')],
    source: 'drivers/vfio/group.c vfio_group_ioctl_unset_container()',
  },
  ({ openGroup }) => {
    expect(openGroup().tryUnsetContainer()).toFailWith('EINVAL');
  },
);

test(
  'group.get-device.wrong-name',
  'a name that belongs to no device of the group opens nothing',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('ENODEV')],
    source: 'drivers/vfio/group.c vfio_device_get_from_name()',
    fixes: ['e324fc82ea45 (GROUP_GET_DEVICE_FD with a wrong name leaks a reference)'],
    peer: ['A17'],
  },
  ({ group }) => {
    for (const name of ['', '0000:00:00', 'ffff:ff:1f.7', 'x'.repeat(64)]) {
      expect(group.tryGetDevice(name)).toFailWith('ENODEV');
    }
  },
);

test(
  'group.get-device.no-iommu',
  'a device cannot be opened before its container has an IOMMU',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD.fails('EINVAL')],
    source: 'drivers/vfio/group.c vfio_df_group_open()',
  },
  ({ openGroup, emptyContainer, pci }) => {
    const group = openGroup();
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    group.setContainer(emptyContainer());
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
  },
);
