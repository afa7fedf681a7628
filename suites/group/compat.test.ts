import {
  ERRNO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_GROUP_GET_STATUS,
  VFIO_IOMMU_GET_INFO,
  compatIoctl,
  expect,
  ioctl,
  runsCompatPrograms,
  test,
  vfio_group_status,
  vfio_iommu_type1_info,
  vfio_region_info,
  type Requirement,
  type TestContext,
} from '../../harness/testing/index.ts';

const COMPAT: Requirement = {
  name: '32-bit programs',
  missing: () => (runsCompatPrograms() ? null : 'this machine runs no 32-bit programs'),
};

/** An argument of `size` bytes that begins with its size and asks for index 0. */
function sized(size: number): Buffer {
  const argument = Buffer.alloc(size);
  argument.writeUInt32LE(size, 0);
  return argument;
}

const CALLS = [
  [
    'container',
    'drivers/vfio/container.c vfio_fops',
    VFIO_IOMMU_GET_INFO,
    vfio_iommu_type1_info.size,
    ({ container }: TestContext) => container.fd,
  ],
  [
    'group',
    'drivers/vfio/group.c vfio_group_fops',
    VFIO_GROUP_GET_STATUS,
    vfio_group_status.size,
    ({ group }: TestContext) => group.fd,
  ],
  [
    'device',
    'drivers/vfio/vfio_main.c vfio_device_fops',
    VFIO_DEVICE_GET_REGION_INFO,
    vfio_region_info.size,
    ({ device }: TestContext) => device.fd,
  ],
] as const;

for (const [name, source, call, size, fdOf] of CALLS) {
  test(
    `group.ioctl.compat.${name}`,
    'a 32-bit program gets the answers that a 64-bit one gets',
    { covers: [call], source: `${source}.compat_ioctl`, needs: [COMPAT] },
    (context) => {
      const fd = fdOf(context);
      const argument = sized(size);
      expect(ioctl(fd, call, argument)).toSucceed(0);
      expect(compatIoctl(fd, call.request, sized(size))).toEqual({ result: 0, argument });
      expect(compatIoctl(fd, call.request, sized(4))).toMatchObject({ result: -ERRNO.EINVAL });
    },
  );
}
