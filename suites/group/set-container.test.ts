import { openSync, closeSync } from 'node:fs';
import {
  O_CLOEXEC,
  O_PATH,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_TYPE1v2_IOMMU,
  expect,
  ioctl,
  kernelAtLeast,
  sys,
  test,
} from '../../harness/testing/index.ts';

const SET = 'drivers/vfio/group.c vfio_group_ioctl_set_container()';
const ATTACH = 'drivers/vfio/container.c vfio_container_attach_group()';
const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;
/** The errno for an fd that is neither a container nor an iommufd: changed when iommufd came. */
const UNKNOWN_FD = () => (kernelAtLeast('6.2') ? 'EBADFD' : 'EINVAL');

test(
  'group.container.twice',
  'a group is in one container at a time',
  { covers: [VFIO_GROUP_SET_CONTAINER.fails('EINVAL')], source: SET },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    const first = emptyContainer();
    const second = emptyContainer();
    group.setContainer(first);
    expect(group.trySetContainer(second)).toFailWith('EINVAL');
    expect(group.trySetContainer(first)).toFailWith('EINVAL');
    expect(second.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    first.setIommu(VFIO_TYPE1v2_IOMMU);
  },
);

test(
  'group.container.bad-fd',
  'SET_CONTAINER with a number that is no open fd is refused and changes nothing',
  { covers: [VFIO_GROUP_SET_CONTAINER.fails('EBADF')], source: SET },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    for (const fd of [-1, 1023, 0x7fffffff, -0x80000000]) {
      expect(group.trySetContainer(fd)).toFailWith('EBADF');
    }
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    group.setContainer(emptyContainer());
    expect(group.trySetContainer(-1)).toFailWith('EBADF');
  },
);

test(
  'group.container.path-fd',
  'an fd opened with O_PATH does not stand for the container',
  { covers: [VFIO_GROUP_SET_CONTAINER.fails('EBADF')], source: SET },
  ({ openGroup, defer }) => {
    const fd = sys.open('/dev/vfio/vfio', O_PATH | O_CLOEXEC);
    defer(() => sys.close(fd));
    const group = openGroup();
    expect(group.trySetContainer(fd)).toFailWith('EBADF');
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.container.other-fd',
  'SET_CONTAINER with an fd of another kind is refused and changes nothing',
  { covers: [VFIO_GROUP_SET_CONTAINER.fails('EBADFD')], source: SET },
  ({ openGroup, emptyContainer, eventfd, defer }) => {
    const group = openGroup();
    const file = openSync('/dev/null', 'r+');
    defer(() => closeSync(file));
    for (const fd of [group.fd, eventfd().fd, file]) {
      expect(group.trySetContainer(fd)).toFailWith(UNKNOWN_FD());
      expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    }
    group.setContainer(emptyContainer());
    expect(group.status()).toBe(IN_CONTAINER);
  },
);

test(
  'group.container.device-fd',
  'a group cannot be put into another group or into a device',
  {
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EBADFD')],
    source: SET,
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ device, group, openGroup }) => {
    const other = openGroup('edu-rp');
    expect(other.trySetContainer(device.fd)).toFailWith(UNKNOWN_FD());
    expect(other.trySetContainer(group.fd)).toFailWith(UNKNOWN_FD());
    expect(other.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.container.bad-address',
  'SET_CONTAINER takes a pointer to the fd, and refuses one that cannot be read',
  { covers: [VFIO_GROUP_SET_CONTAINER.fails('EFAULT')], source: SET },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    const container = emptyContainer();
    expect(ioctl(group.fd, VFIO_GROUP_SET_CONTAINER, 0)).toFailWith('EFAULT');
    expect(ioctl(group.fd, VFIO_GROUP_SET_CONTAINER, container.fd)).toFailWith('EFAULT');
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.container.dup-fd',
  'a duplicate of a container fd stands for the same container',
  { covers: [VFIO_GROUP_SET_CONTAINER], source: ATTACH },
  ({ openGroup, emptyContainer, defer }) => {
    const container = emptyContainer();
    const copy = sys.dup(container.fd);
    defer(() => sys.close(copy));
    expect(openGroup().trySetContainer(copy)).toSucceed(0);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
  },
);

test(
  'group.container.many-times',
  'a group enters and leaves a container as often as one likes',
  {
    covers: [VFIO_GROUP_SET_CONTAINER],
    source: [ATTACH, 'drivers/vfio/container.c vfio_group_detach_container()'],
  },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    const container = emptyContainer();
    for (let round = 0; round < 5; round++) {
      group.setContainer(container);
      container.setIommu(VFIO_TYPE1v2_IOMMU);
      group.unsetContainer();
    }
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);
