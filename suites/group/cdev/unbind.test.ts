import { existsSync } from 'node:fs';
import {
  CDEV,
  Container,
  Edu,
  Group,
  Irqs,
  OWN_MACHINE,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_PCI_REQ_IRQ_INDEX,
  VFIO_TYPE1v2_IOMMU,
  deviceNode,
  expect,
  hasGroupNode,
  moduleUsers,
  startUnbinding,
  test,
} from '../../../harness/testing/index.ts';

const UNREGISTER = 'drivers/vfio/vfio_main.c vfio_unregister_group_dev()';
const RELAYING = /Relaying device request to user/;
const NEEDS = { device: 'edu', needs: [CDEV, OWN_MACHINE] };

test(
  'group.cdev.unbind-bound',
  'unbinding asks the user of a device node for the device and waits for the close',
  { source: UNREGISTER, ...NEEDS, provokes: [RELAYING] },
  (context) => {
    const writer = context.actor();
    const { openCdev, iommufd, eventfd, pci } = context;
    const device = openCdev();
    device.bind(iommufd());
    const node = deviceNode(pci);
    const signal = eventfd();
    new Irqs(device, VFIO_PCI_REQ_IRQ_INDEX).enable([signal]);
    const unbinding = startUnbinding(writer, pci);
    expect(signal.soon()).toBe(1);
    expect(unbinding.blocks()).toBe(true);
    expect(existsSync(node)).toBe(false);
    expect(device.config.read16(0)).toBe(pci.vendor);
    device.close();
    expect(unbinding.ends()).toBe(true);
    expect(hasGroupNode(pci.group!)).toBe(false);
  },
);

test(
  'group.cdev.unbind-not-bound',
  'also an fd that is bound to no iommufd is waited for; what was bound and closed is not',
  {
    source: [UNREGISTER, 'drivers/vfio/device_cdev.c vfio_device_fops_cdev_open()'],
    ...NEEDS,
    provokes: [/No device request channel registered/],
  },
  (context) => {
    const writer = context.actor();
    const { openCdev, iommufd, pci } = context;
    const io = iommufd();
    const used = openCdev();
    used.bind(io);
    used.close();
    const idle = openCdev();
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.blocks()).toBe(true);
    idle.close();
    expect(unbinding.ends()).toBe(true);
  },
);

test(
  'group.cdev.failed-binds-no-leak',
  'a device of which every bind failed is unbound at once when its fd is closed',
  { source: 'drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()', ...NEEDS },
  (context) => {
    const writer = context.actor();
    const { openCdev, eventfd, pci } = context;
    const users = moduleUsers('vfio_pci');
    const device = openCdev();
    const { fd } = eventfd();
    for (let again = 0; again < 20; again++) {
      expect(device.tryBind({ iommufd: fd })).toFailWith('EBADFD');
    }
    device.close();
    expect(moduleUsers('vfio_pci')).toBe(users);
    const unbinding = startUnbinding(writer, pci);
    expect(unbinding.ends()).toBe(true);
  },
);

test(
  'group.cdev.module-users',
  'a bound device keeps its driver from being unloaded, an unbound or closed one does not',
  { source: 'drivers/vfio/vfio_main.c vfio_df_device_first_open()', device: 'edu', needs: [CDEV] },
  ({ openCdev, iommufd }) => {
    const io = iommufd();
    const users = moduleUsers('vfio_pci');
    if (users === null) return;
    const device = openCdev();
    expect(moduleUsers('vfio_pci')).toBe(users);
    device.bind(io);
    expect(moduleUsers('vfio_pci')).toBe(users + 1);
    device.close();
    expect(moduleUsers('vfio_pci')).toBe(users);
  },
);

test(
  'group.iommufd-as-container.works',
  'an iommufd stands in for a container: a group enters it, and mappings work as in type1',
  {
    covers: [VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_UNSET_CONTAINER.fails('EBUSY')],
    source: [
      'drivers/vfio/group.c vfio_group_ioctl_set_container()',
      'drivers/vfio/iommufd.c vfio_iommufd_compat_attach_ioas()',
    ],
    device: 'edu',
    needs: [CDEV],
  },
  ({ openGroup, iommufd, openDevice, memory, pci }) => {
    const io = iommufd();
    const container = new Container(io.fd);
    const group = openGroup();
    expect(group.trySetContainer(io.fd)).toSucceed(0);
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
    expect(group.trySetContainer(io.fd)).toFailWith('EINVAL');
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    const pages = memory({ size: 8192, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: 8192n });
    const device = openDevice(group);
    const second = openDevice(group);
    pages.fill(1, 0, 4096);
    const edu = new Edu(device);
    edu.readMemory(0n, 4096);
    edu.writeMemory(4096n, 4096);
    edu.unmap();
    expect(pages.verify(1, 4096, 4096)).toBe(-1);
    device.close();
    expect(second.config.read16(0)).toBe(pci.vendor);
    second.close();
    expect(container.unmapDma({ iova: 0n, size: 8192n })).toBe(8192n);
    expect(group.tryUnsetContainer()).toSucceed(0);
    expect(group.tryUnsetContainer()).toFailWith('EINVAL');
    expect(group.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
    expect(group.status()).toBe(VFIO_GROUP_FLAGS_VIABLE);
  },
);

test(
  'group.iommufd-as-container.close-group',
  'closing a group in an iommufd leaves its open device alone, which nobody else gets before it is closed',
  { source: 'drivers/vfio/group.c vfio_group_fops_release()', device: 'edu', needs: [CDEV] },
  ({ pci, iommufd, containerWith, emptyContainer, openFreshGroup, openDevice }) => {
    const io = iommufd();
    const first = openFreshGroup(pci.group!);
    expect(first.trySetContainer(io.fd)).toSucceed(0);
    const device = openDevice(first);
    expect(device.config.read16(0)).toBe(pci.vendor);
    first.close();
    expect(device.config.read16(0)).toBe(pci.vendor);
    // Whoever can open the group meanwhile gets no hold of its devices.
    const intruder = Group.tryOpen(pci.group!);
    if (intruder.value) {
      expect(intruder.value.trySetContainer(emptyContainer())).toFailWith('EPERM');
      expect(intruder.value.tryGetDevice(pci.bdf)).toFailWith('EINVAL');
      intruder.value.close();
    }
    device.close();
    const second = openFreshGroup(pci.group!);
    containerWith(second);
    expect(openDevice(second).config.read16(0)).toBe(pci.vendor);
    expect(io.allocIoas()).toBeGreaterThan(0);
  },
);

test(
  'group.iommufd-as-container.stays-taken',
  'a group stays taken while its device is open, in an iommufd as in a container',
  { source: 'drivers/vfio/group.c vfio_group_fops_release()', device: 'edu', needs: [CDEV] },
  ({ pci, iommufd, openFreshGroup, openDevice }) => {
    const group = openFreshGroup(pci.group!);
    expect(group.trySetContainer(iommufd().fd)).toSucceed(0);
    openDevice(group);
    group.close();
    const again = Group.tryOpen(pci.group!);
    again.value?.close();
    expect(again).toFailWith('EBUSY');
  },
);
