import {
  PROT_READ,
  PROT_WRITE,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_STATUS,
  VFIO_TYPE1v2_IOMMU,
  expect,
  ioctl,
  sys,
  test,
} from '../../harness/testing/index.ts';

const STATUS = 'drivers/vfio/group.c vfio_group_ioctl_get_status()';
const IN_CONTAINER = VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET;

test(
  'group.status.viable',
  'a group whose members are bound to VFIO is viable, and says when it is in a container',
  {
    covers: [
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_VIABLE'),
      VFIO_GROUP_GET_STATUS.flag('VFIO_GROUP_FLAGS_CONTAINER_SET'),
    ],
    source: STATUS,
    peer: ['L2', 'A1'],
  },
  ({ openGroup, emptyContainer }) => {
    const group = openGroup();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    const container = emptyContainer();
    group.setContainer(container);
    expect(group.status()).toBe(IN_CONTAINER);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(group.status()).toBe(IN_CONTAINER);
    group.unsetContainer();
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.status.argsz',
  'GET_STATUS with a structure that is too short is refused and leaves it as it was',
  { covers: [VFIO_GROUP_GET_STATUS.fails('EINVAL')], source: STATUS },
  ({ openGroup }) => {
    const group = openGroup();
    for (const argsz of [0, 4, 7]) {
      const buffer = Buffer.alloc(8, 0xa5);
      buffer.writeUInt32LE(argsz, 0);
      const before = Buffer.from(buffer);
      expect(ioctl(group.fd, VFIO_GROUP_GET_STATUS, buffer)).toFailWith('EINVAL');
      expect(buffer).toEqual(before);
    }
  },
);

test(
  'group.status.argsz-larger',
  'GET_STATUS fills the structure it knows and touches neither argsz nor what lies behind',
  { covers: [VFIO_GROUP_GET_STATUS], source: STATUS },
  ({ openGroup }) => {
    const group = openGroup();
    for (const argsz of [8, 9, 64, 0xffffffff]) {
      const buffer = Buffer.alloc(64, 0xa5);
      buffer.writeUInt32LE(argsz, 0);
      const expected = Buffer.from(buffer);
      expected.writeUInt32LE(VFIO_GROUP_FLAGS_VIABLE, 4);
      expect(ioctl(group.fd, VFIO_GROUP_GET_STATUS, buffer)).toSucceed(0);
      expect(buffer).toEqual(expected);
    }
  },
);

test(
  'group.status.bad-address',
  'GET_STATUS at an address that cannot be read or written is refused',
  { covers: [VFIO_GROUP_GET_STATUS.fails('EFAULT')], source: STATUS },
  ({ openGroup, memory }) => {
    const group = openGroup();
    expect(ioctl(group.fd, VFIO_GROUP_GET_STATUS, 0)).toFailWith('EFAULT');
    const page = memory({ size: 4096, kind: '4k' });
    page.write(0, Buffer.from([8, 0, 0, 0]));
    sys.mprotect(page.address, 4096, PROT_READ);
    expect(ioctl(group.fd, VFIO_GROUP_GET_STATUS, page.address)).toFailWith('EFAULT');
    sys.mprotect(page.address, 4096, PROT_READ | PROT_WRITE);
    expect(ioctl(group.fd, VFIO_GROUP_GET_STATUS, page.address)).toSucceed(0);
  },
);

test(
  'group.status.with-device',
  'GET_STATUS says the same with and without an open device',
  { covers: [VFIO_GROUP_GET_STATUS], source: STATUS },
  ({ group, openDevice }) => {
    const device = openDevice(group);
    expect(group.status()).toBe(IN_CONTAINER);
    device.close();
    expect(group.status()).toBe(IN_CONTAINER);
  },
);
