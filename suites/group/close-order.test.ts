import {
  CLOSE_ORDERS,
  Group,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  expect,
  lockedMemory,
  moduleUsers,
  sys,
  test,
  type Container,
  type Device,
} from '../../harness/testing/index.ts';

const SOURCE = [
  'drivers/vfio/container.c vfio_group_use_container()',
  'drivers/vfio/container.c vfio_group_detach_container()',
  'drivers/vfio/group.c vfio_group_fops_release()',
  'drivers/vfio/vfio_main.c vfio_device_fops_release()',
];
const PAGE = 4096n;

type Name = 'container' | 'group' | 'device';

/** Everything that can still be asked of what is still open. */
function checkWhatIsOpen(
  open: ReadonlySet<Name>,
  { container, group, device }: { container: Container; group: Group; device: Device },
  vaddr: bigint,
  vendor: number,
): void {
  if (open.has('device')) expect(device.config.read16(0)).toBe(vendor);
  if (open.has('group')) {
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
  }
  // A device holds its group, and a group holds the container.
  const inUse = open.has('group') || open.has('device');
  if (inUse) expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
  if (open.has('container')) {
    const map = { iova: 0x200000n, vaddr, size: PAGE };
    if (inUse) {
      container.mapDma(map);
      expect(container.unmapDma({ iova: 0x200000n, size: PAGE })).toBe(PAGE);
    } else {
      expect(container.tryMapDma(map)).toFailWith('EINVAL');
    }
  }
}

for (const order of CLOSE_ORDERS) {
  test(
    `group.close-order.${order.join('-')}`,
    `closed in the order ${order.join(', ')}, what is still open works, and nothing is left behind`,
    { source: SOURCE },
    ({ container, group, device, memory, pci }) => {
      const users = moduleUsers('vfio_pci');
      const pages = memory({ size: 8192, kind: '4k' });
      const before = lockedMemory();
      container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
      const parts = { container, group, device };
      const open = new Set<Name>(order);
      for (const name of order) {
        parts[name].close();
        open.delete(name);
        checkWhatIsOpen(open, parts, pages.address + PAGE, pci.vendor);
        const held = open.has('group') || open.has('device');
        expect(lockedMemory().VmLck - before.VmLck).toBe(held ? 4 : 0);
      }
      if (users !== null) expect(moduleUsers('vfio_pci')).toBeLessThan(users);
      const again = Group.open(group.number);
      expect(again.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
      again.close();
    },
  );
}

test(
  'group.close-order.mapping-keeps-device',
  'a mapping of a BAR keeps the device and its group open after all fds are closed',
  { source: ['drivers/vfio/vfio_main.c vfio_device_fops_mmap()', ...SOURCE], device: 'edu' },
  ({ container, group, device, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = lockedMemory();
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    device.config.write16(PCI_COMMAND, PCI_COMMAND_MEMORY);
    const { offset } = device.region(0).info;
    const address = sys.mmap(0n, 4096, 3, 1, device.fd, offset);
    expect(address).toBeGreaterThan(0n);
    device.close();
    group.close();
    container.close();
    expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    expect(sys.load(32, address)).toEqual({ result: 0, value: 0x010000edn });
    expect(lockedMemory().VmLck - before.VmLck).toBe(4);
    sys.munmap(address, 4096);
    expect(lockedMemory()).toEqual(before);
    Group.open(group.number).close();
  },
);

test(
  'group.close-order.group-first-open-again',
  'a group whose fd is closed stays taken until its device is closed, then opens afresh',
  { source: SOURCE },
  ({ group, device }) => {
    group.close();
    for (let again = 0; again < 3; again++) {
      expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    }
    device.close();
    const fresh = Group.open(group.number);
    expect(fresh.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    expect(fresh.tryUnsetContainer()).toFailWith('EINVAL');
    fresh.close();
  },
);

test(
  'group.close-order.killed-process',
  'a process killed with container, group and device open leaves all of them free',
  { source: SOURCE },
  ({ container, group, device, actor }) => {
    const holder = actor({ inheritFds: [container.fd, group.fd, device.fd] });
    device.close();
    group.close();
    container.close();
    expect(Group.tryOpen(group.number)).toFailWith('EBUSY');
    holder.kill(9);
    const fresh = Group.open(group.number);
    expect(fresh.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
    fresh.close();
  },
);
