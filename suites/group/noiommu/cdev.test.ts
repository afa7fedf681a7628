import { existsSync, readFileSync } from 'node:fs';
import {
  Answer,
  CDEV,
  CdevDevice,
  ERRNO,
  Edu,
  IOMMU_IOAS_NOIOMMU_GET_PA,
  NOIOMMU,
  NO_IOMMU_ROLE,
  OWN_MACHINE,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_IOMMUFD,
  bindWithoutIommu,
  deviceNode,
  expect,
  ioctl,
  iommu_ioas_noiommu_get_pa,
  nodeFacts,
  openNoIommuGroup,
  test,
  vfioDevName,
  type Iommufd,
} from '../../../harness/testing/index.ts';
import { openAsOwner } from './node-owner.ts';

const OPEN = 'drivers/vfio/device_cdev.c vfio_device_fops_cdev_open()';
const NAME = 'drivers/vfio/vfio_main.c vfio_device_set_noiommu_and_name()';
/** Linux 7.3 gives devices without an IOMMU nodes of their own. */
const OWN_NODE = {
  device: NO_IOMMU_ROLE,
  needs: [NOIOMMU, CDEV, OWN_MACHINE],
  since: '7.3',
};
const TAINT_USER = 1 << 6;

/** IOMMU_IOAS_NOIOMMU_GET_PA; the value is the physical address and how far it holds. */
function tryGetPhysical(
  io: Iommufd,
  ioas: number,
  iova: bigint,
  length: bigint,
): Answer<{ physical: bigint; length: bigint }> {
  const buffer = iommu_ioas_noiommu_get_pa.encode({
    size: iommu_ioas_noiommu_get_pa.size,
    flags: 0,
    ioas_id: ioas,
    __reserved: 0,
    iova,
    length,
    out_phys: 0n,
  });
  const { call, result } = ioctl(io.fd, IOMMU_IOAS_NOIOMMU_GET_PA, buffer);
  const answer = iommu_ioas_noiommu_get_pa.decode(buffer);
  return new Answer(call, result, { physical: answer.out_phys, length: answer.length });
}

test(
  'group.noiommu.cdev-node',
  'the own node of a device without an IOMMU says so by its name, and the kernel is tainted',
  { source: [NAME, 'drivers/vfio/vfio_main.c __vfio_register_dev()'], ...OWN_NODE },
  (context) => {
    const log = context.kernelLog();
    const pci = bindWithoutIommu(context);
    expect(vfioDevName(pci)).toMatch(/^noiommu-vfio\d+$/);
    const node = deviceNode(pci);
    expect(nodeFacts(node)).toMatchObject({ isCharacterDevice: true, mode: 0o600, uid: 0, gid: 0 });
    expect(existsSync(node.replace('noiommu-', ''))).toBe(false);
    const taint = Number(readFileSync('/proc/sys/kernel/tainted', 'utf8'));
    expect(taint & TAINT_USER).toBe(TAINT_USER);
    expect(log.drain().filter((line) => line.includes('taint for vfio-noiommu cdev'))).toHaveLength(
      1,
    );
  },
);

test(
  'group.noiommu.cdev-privilege',
  'the owner of the own node of a device without an IOMMU cannot open it without CAP_SYS_RAWIO',
  { source: OPEN, ...OWN_NODE },
  (context) => {
    const pci = bindWithoutIommu(context);
    expect(openAsOwner(context, deviceNode(pci))).toBe(-ERRNO.EPERM);
  },
);

test(
  'group.noiommu.cdev-dma',
  'a device without an IOMMU is bound and attached, and reaches memory by the physical addresses of its address space',
  {
    covers: [VFIO_DEVICE_BIND_IOMMUFD, VFIO_DEVICE_ATTACH_IOMMUFD_PT],
    source: [
      'drivers/vfio/iommufd.c vfio_iommufd_physical_attach_ioas()',
      'drivers/iommu/iommufd/ioas.c iommufd_ioas_noiommu_get_pa()',
    ],
    ...OWN_NODE,
  },
  (context) => {
    const pci = bindWithoutIommu(context);
    const device = CdevDevice.tryOpen(pci).get()!;
    context.defer(() => device.close());
    const io = context.iommufd();
    device.bind(io);
    expect(device.config.read16(0)).toBe(pci.vendor);
    const ioas = io.allocIoas();
    expect(device.tryAttach(ioas)).toSucceed(0);
    expect(io.tryDestroy(ioas)).toFailWith('EBUSY');
    const pages = context.memory({ size: 8192, kind: '4k' });
    expect(io.tryMap(ioas, { iova: 0x10000n, vaddr: pages.address, size: 8192n })).toSucceed(0);
    const [from, to] = [0x10000n, 0x11000n].map((iova) => {
      const found = tryGetPhysical(io, ioas, iova, 4096n).get();
      expect(found.length).toBe(4096n);
      return found.physical;
    }) as [bigint, bigint];
    expect(tryGetPhysical(io, ioas, 0x10010n, 16n).get()).toEqual({
      physical: from + 16n,
      length: 16n,
    });
    expect(tryGetPhysical(io, ioas, 0x20000n, 16n).ok).toBe(false);
    pages.fill(5, 0, 4096);
    const edu = new Edu(device);
    context.defer(() => edu.unmap());
    edu.readMemory(from, 4096);
    edu.writeMemory(to, 4096);
    expect(pages.verify(5, 4096, 4096)).toBe(-1);
    expect(device.tryDetach()).toSucceed(0);
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);

test(
  'group.noiommu.cdev-exclusive',
  'a device without an IOMMU is bound through its node or opened through its group, not both',
  {
    covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EBUSY')],
    source: 'drivers/vfio/group.c vfio_device_block_group()',
    ...OWN_NODE,
  },
  (context) => {
    const pci = bindWithoutIommu(context);
    const device = CdevDevice.tryOpen(pci).get()!;
    context.defer(() => device.close());
    const io = context.iommufd();
    const group = openNoIommuGroup(context, pci);
    expect(device.tryBind({ iommufd: io })).toFailWith('EBUSY');
    group.close();
    device.bind(io);
    expect(() => openNoIommuGroup(context, pci)).toThrow('EBUSY');
    device.close();
    openNoIommuGroup(context, pci);
  },
);
