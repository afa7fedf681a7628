import { existsSync, readFileSync } from 'node:fs';
import {
  Edu,
  ERRNO,
  NOIOMMU,
  NO_IOMMU_ROLE,
  OWN_MACHINE,
  Program,
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_NOIOMMU_IOMMU,
  VFIO_SET_IOMMU,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  bindTo,
  bindWithoutIommu,
  expect,
  forbidNoIommu,
  functionInRole,
  nodeFacts,
  noIommuNode,
  openNoIommuGroup,
  test,
  tryWriteAttribute,
  unbind,
  type Container,
  type Group,
  type PciFunction,
  type TestContext,
} from '../../../harness/testing/index.ts';
import { openAsOwner } from './node-owner.ts';

const FIND = 'drivers/vfio/group.c vfio_group_find_or_alloc()';
const ALLOC = 'drivers/vfio/group.c vfio_noiommu_group_alloc()';
const CONTAINER = 'drivers/vfio/container.c vfio_container_attach_group()';
const NEEDS = { device: NO_IOMMU_ROLE, needs: [NOIOMMU, OWN_MACHINE] };
const NOBODY = 65534;
const TAINT_USER = 1 << 6;

/** The device without an IOMMU, its group in a container of its own. */
function inContainer(context: TestContext): {
  pci: PciFunction;
  group: Group;
  container: Container;
} {
  const pci = bindWithoutIommu(context);
  const group = openNoIommuGroup(context, pci);
  const container = context.emptyContainer();
  group.setContainer(container);
  return { pci, group, container };
}

test(
  'group.noiommu.mode-off',
  'without no-IOMMU mode vfio-pci takes no device that has no IOMMU',
  { source: FIND, device: NO_IOMMU_ROLE, needs: [OWN_MACHINE] },
  () => {
    const pci = functionInRole(NO_IOMMU_ROLE)!;
    expect(pci.group).toBe(null);
    expect(tryWriteAttribute(`${pci.path}/driver_override`, 'vfio-pci')).toSucceed();
    const bind = '/sys/bus/pci/drivers/vfio-pci/bind';
    expect(tryWriteAttribute(bind, pci.bdf)).toFailWith('EINVAL');
    expect([pci.driver, pci.group]).toEqual([null, null]);
  },
);

test(
  'group.noiommu.group',
  'a device without an IOMMU gets a group that tells so by its name and node, and taints the kernel',
  { source: [FIND, ALLOC, 'drivers/vfio/group.c vfio_create_group()'], ...NEEDS },
  (context) => {
    const log = context.kernelLog();
    const pci = bindWithoutIommu(context);
    expect(readFileSync(`/sys/kernel/iommu_groups/${pci.group}/name`, 'utf8').trim()).toBe(
      'vfio-noiommu',
    );
    expect(nodeFacts(noIommuNode(pci))).toMatchObject({
      isCharacterDevice: true,
      mode: 0o600,
      uid: 0,
      gid: 0,
    });
    expect(existsSync(`/dev/vfio/${pci.group}`)).toBe(false);
    const taint = Number(readFileSync('/proc/sys/kernel/tainted', 'utf8'));
    expect(taint & TAINT_USER).toBe(TAINT_USER);
    const warned = log
      .drain()
      .filter((line) => line.includes('kernel taint for vfio-noiommu group'));
    expect(warned).toHaveLength(1);
  },
);

test(
  'group.noiommu.group-goes',
  'the group goes with the device: unbinding leaves neither group nor node, and binding makes new ones',
  { source: 'drivers/vfio/group.c vfio_device_remove_group()', ...NEEDS },
  (context) => {
    const pci = bindWithoutIommu(context);
    for (let round = 0; round < 3; round++) {
      const [node, group] = [noIommuNode(pci), `/sys/kernel/iommu_groups/${pci.group}`];
      expect([existsSync(node), existsSync(group)]).toEqual([true, true]);
      unbind(pci);
      expect(pci.group).toBe(null);
      expect([existsSync(node), existsSync(group)]).toEqual([false, false]);
      bindTo(pci, 'vfio-pci');
    }
  },
);

test(
  'group.noiommu.status',
  'a group without an IOMMU is viable, and open to one user at a time',
  { source: 'drivers/vfio/group.c vfio_group_ioctl_get_status()', ...NEEDS },
  (context) => {
    const { pci, group, container } = inContainer(context);
    const { openFreshGroup } = context;
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
    expect(group.trySetContainer(container)).toFailWith('EINVAL');
    expect(() => openNoIommuGroup(context, pci)).toThrow('EBUSY');
    expect(group.tryUnsetContainer()).toSucceed(0);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    group.close();
    openFreshGroup(`noiommu-${pci.group}`).close();
  },
);

test(
  'group.noiommu.privilege',
  'the owner of the node of a group without an IOMMU cannot open it without CAP_SYS_RAWIO',
  { source: 'drivers/vfio/group.c vfio_group_fops_open()', ...NEEDS },
  (context) => {
    const pci = bindWithoutIommu(context);
    expect(openAsOwner(context, noIommuNode(pci))).toBe(-ERRNO.EPERM);
    openNoIommuGroup(context, pci);
  },
);

test(
  'group.noiommu.handed-over',
  'nor does an open group without an IOMMU serve a process without CAP_SYS_RAWIO',
  {
    covers: [
      VFIO_GROUP_SET_CONTAINER.fails('EPERM'),
      VFIO_SET_IOMMU.fails('EPERM'),
      VFIO_GROUP_GET_DEVICE_FD.fails('EPERM'),
    ],
    source: [
      CONTAINER,
      'drivers/vfio/container.c vfio_noiommu_open()',
      'drivers/vfio/container.c vfio_group_use_container()',
    ],
    ...NEEDS,
  },
  (context) => {
    const { pci, group, container } = inContainer(context);
    group.unsetContainer();
    const user = context.actor({
      uid: NOBODY,
      gid: NOBODY,
      dropCaps: true,
      inheritFds: [group.fd, container.fd],
    });
    const call = ({ fd }: Group | Container, request: number, argument: Buffer | number) => {
      const program = new Program();
      const data = typeof argument === 'number' ? argument : program.data(argument);
      const answer = program.syscall('ioctl', fd, request, data);
      user.run(program);
      return program.result(answer);
    };
    const fd = Buffer.alloc(4);
    fd.writeInt32LE(container.fd);
    expect(call(group, VFIO_GROUP_SET_CONTAINER.request, fd)).toBe(-ERRNO.EPERM);
    group.setContainer(container);
    expect(call(container, VFIO_SET_IOMMU.request, VFIO_NOIOMMU_IOMMU)).toBe(-ERRNO.EPERM);
    container.setIommu(VFIO_NOIOMMU_IOMMU);
    const name = Buffer.from(`${pci.bdf}\0`);
    expect(call(group, VFIO_GROUP_GET_DEVICE_FD.request, name)).toBe(-ERRNO.EPERM);
    group.getDevice(pci.bdf).close();
  },
);

test(
  'group.noiommu.container',
  'a container with a group without an IOMMU takes that "IOMMU" only, which maps nothing',
  {
    covers: [
      VFIO_CHECK_EXTENSION.value('VFIO_NOIOMMU_IOMMU'),
      VFIO_SET_IOMMU.value('VFIO_NOIOMMU_IOMMU'),
      VFIO_SET_IOMMU.fails('ENODEV'),
      VFIO_IOMMU_MAP_DMA.fails('ENOTTY'),
    ],
    source: [
      'drivers/vfio/container.c vfio_iommu_driver_allowed()',
      'drivers/vfio/container.c vfio_noiommu_ioctl()',
    ],
    ...NEEDS,
  },
  (context) => {
    const { pci, group, container } = inContainer(context);
    const offered = () =>
      [VFIO_NOIOMMU_IOMMU, VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU].map((type) =>
        container.checkExtension(type),
      );
    expect(offered()).toEqual([1, 0, 0]);
    for (const type of [VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU, 0]) {
      expect(container.trySetIommu(type)).toFailWith('ENODEV');
    }
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_NOIOMMU_IOMMU)).toSucceed(0);
    expect(container.trySetIommu(VFIO_NOIOMMU_IOMMU)).toFailWith('EINVAL');
    expect(offered()).toEqual([1, 0, 0]);
    const page = context.memory({ size: 4096, kind: '4k' });
    const mapping = { iova: 0n, vaddr: page.address, size: 4096n };
    expect(container.tryMapDma(mapping)).toFailWith('ENOTTY');
  },
);

test(
  'group.noiommu.switched-off',
  'no-IOMMU mode switched off gives a container that "IOMMU" no more, and leaves the user of a device alone',
  {
    covers: [
      VFIO_CHECK_EXTENSION.value('VFIO_NOIOMMU_IOMMU'),
      VFIO_SET_IOMMU.value('VFIO_NOIOMMU_IOMMU'),
      VFIO_SET_IOMMU.fails('ENODEV'),
    ],
    source: [
      'drivers/vfio/container.c vfio_noiommu_ioctl()',
      'drivers/vfio/container.c vfio_ioctl_set_iommu()',
    ],
    ...NEEDS,
  },
  (context) => {
    const { pci, group, container } = inContainer(context);
    const allowAgain = forbidNoIommu();
    context.defer(allowAgain);
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(0);
    expect(container.trySetIommu(VFIO_NOIOMMU_IOMMU)).toFailWith('ENODEV');
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    allowAgain();
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(1);
    container.setIommu(VFIO_NOIOMMU_IOMMU);
    context.defer(forbidNoIommu());
    expect(container.checkExtension(VFIO_NOIOMMU_IOMMU)).toBe(0);
    expect(context.openDevice(group, pci.bdf).config.read16(0)).toBe(pci.vendor);
  },
);

test(
  'group.noiommu.no-mix',
  'groups with and without an IOMMU do not share a container, whichever comes first',
  {
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EPERM')],
    source: CONTAINER,
    ...NEEDS,
    uses: ['edu'],
  },
  (context) => {
    const { group, container } = inContainer(context);
    const real = context.openGroup('edu');
    expect(real.trySetContainer(container)).toFailWith('EPERM');
    container.setIommu(VFIO_NOIOMMU_IOMMU);
    expect(real.trySetContainer(container)).toFailWith('EPERM');
    const other = context.emptyContainer();
    real.setContainer(other);
    group.unsetContainer();
    expect(group.trySetContainer(other)).toFailWith('EPERM');
    // What a container was used for does not stay with it.
    real.unsetContainer();
    expect(group.trySetContainer(other)).toSucceed(0);
    expect(real.trySetContainer(container)).toSucceed(0);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
  },
);

test(
  'group.noiommu.device',
  'a device without an IOMMU works like any other, and the log names who opened it',
  {
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: 'drivers/vfio/group.c vfio_device_open_file()',
    ...NEEDS,
    peer: ['A13'],
  },
  (context) => {
    const { pci, group, container } = inContainer(context);
    container.setIommu(VFIO_NOIOMMU_IOMMU);
    const log = context.kernelLog();
    const device = context.openDevice(group, pci.bdf);
    const opened = log
      .drain()
      .filter((line) => line.includes('vfio-noiommu device opened by user'));
    expect(opened).toHaveLength(1);
    expect(opened[0]).toContain(`:${process.pid})`);
    expect(device.info().flags & VFIO_DEVICE_FLAGS_PCI).toBe(VFIO_DEVICE_FLAGS_PCI);
    expect(device.config.read16(0)).toBe(pci.vendor);
    const edu = new Edu(device);
    context.defer(() => edu.unmap());
    expect(edu.liveness(0x1234_5678)).toBe(~0x1234_5678 >>> 0);
    expect(group.tryUnsetContainer()).toFailWith('EBUSY');
  },
);
