import {
  CLOSE_ORDERS,
  AT_FDCWD,
  ContainerUser,
  Container,
  FD_CLOEXEC,
  F_GETFD,
  Group,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  O_CLOEXEC,
  O_RDWR,
  OWN_MACHINE,
  PROT_READ,
  PROT_WRITE,
  Program,
  SIGKILL,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_SET_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  addMapDma,
  execAgain,
  expect,
  lockedMemory,
  pinnedPages,
  sys,
  test,
  type Actor,
  type PciFunction,
  type TestContext,
} from '../../harness/testing/index.ts';

const LIFETIME = 'drivers/vfio/container.c vfio_fops_release()';
const KIB = 16;
const SIZE = 4n * 4096n;

/** Everything a user has open, with a mapping in it. */
function openAll({ container, openGroup, openDevice, memory }: TestContext) {
  const pages = memory({ size: Number(SIZE), kind: '4k' });
  const group = openGroup();
  const device = openDevice(group);
  container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: SIZE });
  return { container, group, device, pages };
}

for (const order of CLOSE_ORDERS) {
  test(
    `container.close-order.${order.join('-')}`,
    `container, group and device may be closed in the order ${order.join(', ')}; the mappings go with group and device`,
    { source: [LIFETIME, 'drivers/vfio/group.c vfio_group_fops_release()'] },
    (context) => {
      const before = lockedMemory().VmLck;
      const all = openAll(context);
      const isOpen = new Set<string>(order);
      for (const name of order) {
        expect(lockedMemory().VmLck).toBe(
          before + (isOpen.has('group') || isOpen.has('device') ? KIB : 0),
        );
        if (isOpen.has('device')) expect(all.device.tryGetInfo()).toSucceed(0);
        if (isOpen.has('container') && (isOpen.has('group') || isOpen.has('device'))) {
          expect(all.container.tryGetInfo(24)).toSucceed(0);
        }
        all[name].close();
        isOpen.delete(name);
      }
      expect(lockedMemory().VmLck).toBe(before);
      // Nothing of it is left: the same group starts afresh.
      const group = Group.open(all.group.number);
      context.defer(() => group.close());
      const container = context.containerWith(group);
      expect(container.unmapDma({ iova: 0n, size: 0x100000n })).toBe(0n);
    },
  );
}

test(
  'container.fd.device-outlives-container-fd',
  'an open device keeps its mappings and its IOMMU after container and group fds are closed',
  { source: LIFETIME, device: 'edu' },
  (context) => {
    const before = lockedMemory().VmLck;
    const { container, group, device } = openAll(context);
    container.close();
    group.close();
    expect(lockedMemory().VmLck).toBe(before + KIB);
    expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    expect(device.info().num_regions).toBeGreaterThan(0);
    device.close();
    expect(lockedMemory().VmLck).toBe(before);
  },
);

test(
  'container.fd.container-without-group',
  'a container whose group fd was closed has lost it, mappings and IOMMU included',
  { source: 'drivers/vfio/group.c vfio_group_fops_release()' },
  ({ container, openGroup, memory }) => {
    const pages = memory({ size: Number(SIZE), kind: '4k' });
    const before = lockedMemory().VmLck;
    container.mapDma({ iova: 0n, vaddr: pages.address, size: SIZE });
    openGroup().close();
    expect(lockedMemory().VmLck).toBe(before);
    expect(container.tryGetInfo(24)).toFailWith('EINVAL');
    expect(container.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    expect(container.apiVersion()).toBe(0);
  },
);

test(
  'container.fd.dup',
  'a duplicate of the container fd is the same container and keeps it',
  { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: LIFETIME },
  ({ container, defer, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const twin = new Container(sys.dup(container.fd));
    defer(() => twin.close());
    container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: 4096n });
    const map = { iova: 0x10000n, vaddr: pages.address, size: 4096n };
    expect(twin.tryMapDma(map)).toFailWith('EEXIST');
    container.close();
    expect(twin.unmapDma({ iova: 0x10000n, size: 4096n })).toBe(4096n);
    expect(twin.tryMapDma(map)).toSucceed(0);
    expect(twin.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
  },
);

test(
  'container.fd.opens-are-distinct',
  'each open of /dev/vfio/vfio is a container of its own',
  { source: 'drivers/vfio/container.c vfio_fops_open()' },
  ({ container, emptyContainer }) => {
    const other = emptyContainer();
    expect(other.tryGetInfo(24)).toFailWith('EINVAL');
    expect(other.trySetIommu(VFIO_TYPE1v2_IOMMU)).toFailWith('EINVAL');
    other.close();
    expect(container.tryGetInfo(24)).toSucceed(0);
  },
);

test(
  'container.fd.close-on-exec',
  'O_CLOEXEC of open decides whether a container survives exec',
  { source: 'Documentation/driver-api/vfio.rst' },
  ({ defer }) => {
    for (const flags of [0, O_CLOEXEC]) {
      const fd = sys.open('/dev/vfio/vfio', O_RDWR | flags);
      defer(() => void sys.close(fd));
      expect(sys.call('fcntl', fd, F_GETFD, 0)).toBe(flags ? FD_CLOEXEC : 0);
    }
  },
);

/** Opens all of it in another process, with these flags: the fds there. */
function openAllIn(user: Actor, { group, bdf }: PciFunction, flags: number) {
  const program = new Program();
  const open = (path: string) =>
    program.syscall('openat', AT_FDCWD, program.data(path), O_RDWR | flags);
  const fds = { container: open('/dev/vfio/vfio'), group: open(`/dev/vfio/${group}`) };
  const argument = program.data(4);
  program.store(32, argument, fds.container);
  const calls = [
    program.syscall('ioctl', fds.group, VFIO_GROUP_SET_CONTAINER.request, argument),
    program.syscall('ioctl', fds.container, VFIO_SET_IOMMU.request, VFIO_TYPE1v2_IOMMU),
  ];
  const access = PROT_READ | PROT_WRITE;
  const vaddr = program.syscall('mmap', 0, SIZE, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  calls.push(addMapDma(program, fds.container, { iova: 0x10000n, vaddr, size: SIZE }));
  const device = program.syscall(
    'ioctl',
    fds.group,
    VFIO_GROUP_GET_DEVICE_FD.request,
    program.data(bdf),
  );
  user.run(program);
  expect(calls.map((call) => program.result(call))).toEqual([0, 0, 0]);
  expect(program.result(device)).toBeGreaterThan(0);
  return {
    container: new Container(program.result(fds.container)),
    group: new Group(program.result(fds.group), group!),
  };
}

test(
  'container.fd.exec',
  'what was opened without O_CLOEXEC keeps group and mappings over exec, but no device; with it all are free',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD],
    source: [
      'drivers/vfio/group.c vfio_device_open_file()',
      'drivers/vfio/group.c vfio_group_fops_release()',
    ],
    needs: [OWN_MACHINE],
  },
  ({ actor, pci }) => {
    const pinned = pinnedPages();
    const leaky = actor();
    const open = openAllIn(leaky, pci, 0);
    execAgain(leaky);
    expect(Group.tryOpen(pci.group!)).toFailWith('EBUSY');
    const user = new ContainerUser(leaky, open.container);
    expect(user.unmapDma({ iova: 0x10000n, size: SIZE })).toBe(SIZE);
    const program = new Program();
    const unset = program.syscall('ioctl', open.group.fd, VFIO_GROUP_UNSET_CONTAINER.request);
    leaky.run(program);
    expect(program.result(unset)).toBe(0);
    leaky.close();
    const careful = actor();
    openAllIn(careful, pci, O_CLOEXEC);
    execAgain(careful);
    // What exec closes is gone when the process runs again.
    careful.run(new Program());
    expect(pinnedPages()).toBe(pinned);
    Group.open(pci.group!).close();
  },
);

test(
  'container.fd.inherited',
  'a process that inherited a container keeps it in use after the first owner closed it',
  { covers: [VFIO_IOMMU_MAP_DMA], source: LIFETIME },
  ({ container, openGroup, actor }) => {
    const group = openGroup();
    const heir = new ContainerUser(actor({ inheritFds: [container.fd, group.fd] }), container);
    container.close();
    group.close();
    const vaddr = heir.memory(4096);
    expect(heir.tryMapDma({ iova: 0x10000n, vaddr, size: 4096n })).toSucceed(0);
    expect(heir.locked().VmLck).toBe(4);
    expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    expect(heir.unmapDma({ iova: 0x10000n, size: 4096n })).toBe(4096n);
    expect(heir.locked().VmLck).toBe(0);
  },
);

test(
  'container.fd.killed-owner',
  'when the last process that had them open is killed, mappings, container and group are released',
  { covers: [VFIO_GROUP_SET_CONTAINER], source: LIFETIME },
  ({ container, openGroup, actor, emptyContainer, defer }) => {
    const group = openGroup();
    const heir = new ContainerUser(actor({ inheritFds: [container.fd, group.fd] }), container);
    heir.mapDma({ iova: 0x10000n, vaddr: heir.memory(8 * 4096), size: 8n * 4096n });
    container.close();
    group.close();
    const mapped = OWN_MACHINE.missing() === null ? pinnedPages() : null;
    heir.actor.kill(SIGKILL);
    if (mapped !== null) expect(pinnedPages()).toBe(mapped - 8);
    const again = Group.open(group.number);
    defer(() => again.close());
    const fresh = emptyContainer();
    expect(again.trySetContainer(fresh)).toSucceed(0);
    fresh.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(fresh.unmapDma({ iova: 0n, size: 0x100000n })).toBe(0n);
  },
);
