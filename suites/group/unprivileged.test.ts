import { chownSync } from 'node:fs';
import {
  AT_FDCWD,
  ERRNO,
  OWN_MACHINE,
  O_RDWR,
  Program,
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_GET_INFO,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_PCI_NUM_IRQS,
  VFIO_PCI_NUM_REGIONS,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  expect,
  groupNode,
  test,
  vfio_device_info,
  vfio_group_status,
  vfio_iommu_type1_dma_map,
} from '../../harness/testing/index.ts';

const NOBODY = 65534;

test(
  'group.unprivileged.nodes',
  'a user without rights opens the container, not a group',
  {
    source: ['drivers/vfio/container.c vfio_dev', 'drivers/vfio/group.c vfio_devnode()'],
    needs: [OWN_MACHINE],
  },
  ({ pci, actor }) => {
    const user = actor({ uid: NOBODY, gid: NOBODY });
    const program = new Program();
    const open = (path: string) => program.syscall('openat', AT_FDCWD, program.data(path), O_RDWR);
    const container = open('/dev/vfio/vfio');
    const group = open(groupNode(pci.group!));
    const version = program.syscall('ioctl', container, VFIO_GET_API_VERSION.request);
    const extension = program.syscall(
      'ioctl',
      container,
      VFIO_CHECK_EXTENSION.request,
      VFIO_TYPE1v2_IOMMU,
    );
    const iommu = program.syscall('ioctl', container, VFIO_SET_IOMMU.request, VFIO_TYPE1v2_IOMMU);
    user.run(program);
    expect(program.result(container)).toBeGreaterThanOrEqual(0);
    expect(program.result(group)).toBe(-ERRNO.EACCES);
    expect(program.result(version)).toBe(0);
    expect(program.result(extension)).toBe(1);
    // The container gives no rights of its own: without a group there is no IOMMU.
    expect(program.result(iommu)).toBe(-ERRNO.EINVAL);
  },
);

test(
  'group.unprivileged.owner',
  'the owner of a group’s node needs no other right to use its device, within RLIMIT_MEMLOCK',
  {
    covers: [
      VFIO_GROUP_SET_CONTAINER,
      VFIO_SET_IOMMU,
      VFIO_GROUP_GET_DEVICE_FD,
      VFIO_IOMMU_MAP_DMA.fails('ENOMEM'),
    ],
    source: 'Documentation/driver-api/vfio.rst',
    needs: [OWN_MACHINE],
  },
  ({ pci, actor, defer }) => {
    const node = groupNode(pci.group!);
    chownSync(node, NOBODY, NOBODY);
    defer(() => chownSync(node, 0, 0));
    const user = actor({
      uid: NOBODY,
      gid: NOBODY,
      dropCaps: true,
      rlimits: { RLIMIT_MEMLOCK: 65536 },
    });
    const program = new Program();
    const container = program.syscall('openat', AT_FDCWD, program.data('/dev/vfio/vfio'), O_RDWR);
    const group = program.syscall('openat', AT_FDCWD, program.data(node), O_RDWR);
    const fd = program.data(4);
    program.store(32, fd, container);
    const set = program.syscall('ioctl', group, VFIO_GROUP_SET_CONTAINER.request, fd);
    const iommu = program.syscall('ioctl', container, VFIO_SET_IOMMU.request, VFIO_TYPE1v2_IOMMU);
    const device = program.syscall(
      'ioctl',
      group,
      VFIO_GROUP_GET_DEVICE_FD.request,
      program.data(pci.bdf),
    );
    const info = program.data(vfio_device_info.size);
    info.bytes.writeUInt32LE(vfio_device_info.size, 0);
    const asked = program.syscall('ioctl', device, VFIO_DEVICE_GET_INFO.request, info);
    // MAP_PRIVATE | MAP_ANONYMOUS
    const pages = program.syscall('mmap', 0, 131072, 3, 0x22, -1, 0);
    const map = (iova: number, size: number) => {
      const argument = program.data(
        vfio_iommu_type1_dma_map.encode({
          argsz: vfio_iommu_type1_dma_map.size,
          flags: 3,
          vaddr: 0n,
          iova: BigInt(iova),
          size: BigInt(size),
        }),
      );
      program.store(64, argument.at(vfio_iommu_type1_dma_map.offsetof('vaddr')), pages);
      return program.syscall('ioctl', container, VFIO_IOMMU_MAP_DMA.request, argument);
    };
    const tooMuch = map(0, 65536 + 4096);
    const allowed = map(0, 65536);
    const onTop = map(0x100000, 4096);
    user.run(program);
    for (const call of [set, iommu, asked, allowed]) expect(program.result(call)).toBe(0);
    expect(program.result(device)).toBeGreaterThanOrEqual(0);
    const { num_regions, num_irqs } = vfio_device_info.decode(info.bytes);
    expect(num_regions).toBeGreaterThanOrEqual(VFIO_PCI_NUM_REGIONS);
    expect(num_irqs).toBeGreaterThanOrEqual(VFIO_PCI_NUM_IRQS);
    expect(program.result(tooMuch)).toBe(-ERRNO.ENOMEM);
    expect(program.result(onTop)).toBe(-ERRNO.ENOMEM);
  },
);

test(
  'group.unprivileged.handed-over',
  'a group fd that was handed over is of full use to a process without rights',
  {
    covers: [VFIO_GROUP_GET_STATUS, VFIO_GROUP_GET_DEVICE_FD],
    source: 'Documentation/driver-api/vfio.rst',
  },
  ({ group, pci, actor, container }) => {
    expect(container.fd).not.toBe(group.fd);
    const user = actor({ uid: NOBODY, gid: NOBODY, dropCaps: true, inheritFds: [group.fd] });
    const program = new Program();
    const argument = program.data(vfio_group_status.encode({ argsz: 8, flags: 0 }));
    const status = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_STATUS.request, argument);
    const device = program.syscall(
      'ioctl',
      group.fd,
      VFIO_GROUP_GET_DEVICE_FD.request,
      program.data(pci.bdf),
    );
    user.run(program);
    expect(program.result(status)).toBe(0);
    expect(argument.bytes.readUInt32LE(4) & VFIO_GROUP_FLAGS_VIABLE).toBe(VFIO_GROUP_FLAGS_VIABLE);
    expect(program.result(device)).toBeGreaterThanOrEqual(0);
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
    user.close();
    expect(group.tryUnsetContainer()).toSucceed(0);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);
