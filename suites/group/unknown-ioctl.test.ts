import {
  CDEV,
  ERRNO,
  Program,
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_RESET,
  VFIO_SET_IOMMU,
  expect,
  ioctl,
  test,
  type IoctlName,
} from '../../harness/testing/index.ts';

/** All 256 numbers of VFIO's type, without those given. */
function numbersBut(known: readonly IoctlName[]): number[] {
  const skip = new Set(known.map(({ request }) => request));
  const base = VFIO_GET_API_VERSION.request & ~0xff;
  return Array.from({ length: 256 }, (_, number) => base | number).filter(
    (request) => !skip.has(request),
  );
}

/** The requests that answer otherwise than with `errno`; the argument is a zeroed kilobyte. */
function otherAnswers(fd: number, requests: readonly number[], errno: number): string[] {
  const program = new Program();
  const argument = program.data(1024);
  const calls = requests.map(
    (request) => [request, program.syscall('ioctl', fd, request, argument)] as const,
  );
  program.run();
  return calls
    .filter(([, call]) => program.result(call) !== -errno)
    .map(([request, call]) => `0x${request.toString(16)}: ${program.result(call)}`);
}

const OF_CONTAINER = [VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU];
const OF_TYPE1 = [
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_IOMMU_DIRTY_PAGES,
];
const OF_GROUP = [
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_GROUP_GET_DEVICE_FD,
];

test(
  'group.ioctl.unknown-container-unset',
  'a container without an IOMMU answers every other ioctl with EINVAL',
  { source: 'drivers/vfio/container.c vfio_fops_unl_ioctl()' },
  ({ emptyContainer }) => {
    expect(otherAnswers(emptyContainer().fd, numbersBut(OF_CONTAINER), ERRNO.EINVAL)).toEqual([]);
  },
);

test(
  'group.ioctl.unknown-container',
  'a container with an IOMMU answers an unknown ioctl with ENOTTY',
  {
    source: [
      'drivers/vfio/container.c vfio_fops_unl_ioctl()',
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_ioctl()',
    ],
  },
  ({ container }) => {
    const unknown = numbersBut([...OF_CONTAINER, ...OF_TYPE1]);
    expect(otherAnswers(container.fd, unknown, ERRNO.ENOTTY)).toEqual([]);
  },
);

test(
  'group.ioctl.unknown-group',
  'a group answers an unknown ioctl with ENOTTY',
  { source: 'drivers/vfio/group.c vfio_group_fops_unl_ioctl()' },
  ({ group }) => {
    expect(otherAnswers(group.fd, numbersBut(OF_GROUP), ERRNO.ENOTTY)).toEqual([]);
  },
);

test(
  'group.ioctl.unknown-device',
  'a PCI device answers an unknown ioctl with ENOTTY',
  {
    source: [
      'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()',
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_ioctl()',
    ],
  },
  ({ device }) => {
    const base = VFIO_GET_API_VERSION.request & ~0xff;
    // From VFIO_DEVICE_FEATURE on there is more than one ioctl a number; 107 to 120 are a device's.
    const unknown = numbersBut([]).filter(
      (request) => request < base + 107 || request > base + 123,
    );
    expect(otherAnswers(device.fd, unknown, ERRNO.ENOTTY)).toEqual([]);
  },
);

test(
  'group.ioctl.other-type',
  'ioctls of other types and directions are none of VFIO: the whole number counts',
  {
    source: [
      'drivers/vfio/group.c vfio_group_fops_unl_ioctl()',
      'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()',
    ],
  },
  ({ group, device, container }) => {
    for (const disguise of [0x40000000, 0x80000000, 0x00080000, 0x00000400]) {
      const like = ({ name, request }: IoctlName) => ({
        name,
        request: (request | disguise) >>> 0,
      });
      expect(ioctl(group.fd, like(VFIO_GROUP_GET_STATUS), Buffer.alloc(64))).toFailWith('ENOTTY');
      expect(ioctl(device.fd, like(VFIO_DEVICE_GET_INFO), Buffer.alloc(64))).toFailWith('ENOTTY');
      expect(ioctl(container.fd, like(VFIO_IOMMU_GET_INFO), Buffer.alloc(64))).toFailWith('ENOTTY');
    }
  },
);

test(
  'group.ioctl.wrong-fd',
  'a group does nothing that a device does, and a device nothing that a group does',
  {
    covers: [VFIO_DEVICE_RESET, VFIO_GROUP_UNSET_CONTAINER],
    source: [
      'drivers/vfio/group.c vfio_group_fops_unl_ioctl()',
      'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()',
    ],
  },
  ({ group, device }) => {
    expect(ioctl(group.fd, VFIO_DEVICE_RESET)).toFailWith('ENOTTY');
    expect(ioctl(group.fd, VFIO_DEVICE_GET_INFO, Buffer.alloc(64))).toFailWith('ENOTTY');
    expect(ioctl(group.fd, VFIO_DEVICE_PCI_HOT_RESET, Buffer.alloc(64))).toFailWith('ENOTTY');
    expect(ioctl(device.fd, VFIO_GROUP_UNSET_CONTAINER)).toFailWith('ENOTTY');
    expect(ioctl(device.fd, VFIO_GROUP_GET_STATUS, Buffer.alloc(64))).toFailWith('ENOTTY');
    expect(ioctl(device.fd, VFIO_GROUP_SET_CONTAINER, Buffer.alloc(64))).toFailWith('ENOTTY');
  },
);

test(
  'group.ioctl.bind-iommufd-of-group',
  'a device opened through its group is not bound to an iommufd',
  {
    covers: [VFIO_DEVICE_BIND_IOMMUFD],
    source: 'drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()',
  },
  ({ device }) => {
    const argument = Buffer.alloc(24);
    argument.writeUInt32LE(16, 0);
    const answer = ioctl(device.fd, VFIO_DEVICE_BIND_IOMMUFD, argument);
    expect(answer).toFailWith(CDEV.missing() === null ? 'EINVAL' : 'ENOTTY');
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);
