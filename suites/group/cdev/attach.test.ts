import {
  CDEV,
  Edu,
  PROT_READ,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_ATTACH_PASID,
  VFIO_DEVICE_DETACH_IOMMUFD_PT,
  VFIO_DEVICE_DETACH_PASID,
  eventually,
  expect,
  ioctl,
  lockedMemory,
  runtimeStatus,
  sys,
  test,
  vfio_device_attach_iommufd_pt,
} from '../../../harness/testing/index.ts';

const ATTACH = 'drivers/vfio/device_cdev.c vfio_df_ioctl_attach_pt()';
const DETACH = 'drivers/vfio/device_cdev.c vfio_df_ioctl_detach_pt()';
const PHYSICAL = 'drivers/vfio/iommufd.c vfio_iommufd_physical_attach_ioas()';
const NEEDS = { device: 'edu', needs: [CDEV] };

test(
  'group.cdev.attach',
  'a bound device is attached to an address space and detached from it, as often as one likes',
  {
    covers: [VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_DETACH_IOMMUFD_PT],
    source: [ATTACH, DETACH, PHYSICAL],
    peer: ['S11', 'A14'],
    ...NEEDS,
  },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    const id = device.bind(io);
    const ioas = io.allocIoas();
    for (let round = 0; round < 3; round++) {
      const answer = device.tryAttach(ioas);
      expect(answer).toSucceed(0);
      // What is returned is the page table that the kernel chose, not the address space.
      expect([id, ioas]).not.toContain(answer.value);
      expect(answer.value).toBeGreaterThan(0);
      expect(io.tryDestroy(ioas)).toFailWith('EBUSY');
      expect(device.tryDetach()).toSucceed(0);
    }
    expect(device.tryDetach()).toSucceed(0);
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);

test(
  'group.cdev.attach-replaces',
  'a device that is attached moves to another address space with the next attach',
  { covers: [VFIO_DEVICE_ATTACH_IOMMUFD_PT], source: PHYSICAL, ...NEEDS },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    const [one, two] = [io.allocIoas(), io.allocIoas()];
    expect(device.tryAttach(one)).toSucceed(0);
    expect(device.tryAttach(one)).toSucceed(0);
    expect(device.tryAttach(two)).toSucceed(0);
    expect(io.tryDestroy(two)).toFailWith('EBUSY');
    expect(io.tryDestroy(one)).toSucceed(0);
    expect(device.tryDetach()).toSucceed(0);
    expect(io.tryDestroy(two)).toSucceed(0);
  },
);

test(
  'group.cdev.attach-invalid',
  'a device is not attached to what does not exist or is no address space',
  {
    covers: [
      VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('ENOENT'),
      VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('EINVAL'),
    ],
    source: [ATTACH, PHYSICAL],
    peer: ['S12'],
    ...NEEDS,
  },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    const id = device.bind(io);
    expect(device.tryAttach(0xffffffff)).toFailWith('ENOENT');
    expect(device.tryAttach(0)).toFailWith('ENOENT');
    expect(device.tryAttach(id)).toFailWith('EINVAL');
    // The address space of another iommufd is out of reach.
    const foreign = iommufd();
    let last = 0;
    for (let extra = 0; extra < 8; extra++) last = foreign.allocIoas();
    expect(device.tryAttach(last)).toFailWith('ENOENT');
    expect(device.tryAttach(io.allocIoas())).toSucceed(0);
  },
);

test(
  'group.cdev.attach-invalid-keeps',
  'an attach that fails leaves the device where it was',
  { covers: [VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('ENOENT')], source: PHYSICAL, ...NEEDS },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    const ioas = io.allocIoas();
    expect(device.tryAttach(ioas)).toSucceed(0);
    expect(device.tryAttach(0xffffffff)).toFailWith('ENOENT');
    expect(io.tryDestroy(ioas)).toFailWith('EBUSY');
    expect(device.tryDetach()).toSucceed(0);
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);

test(
  'group.cdev.attach-argsz',
  'ATTACH and DETACH refuse a struct that is too short, unknown flags and bad addresses',
  {
    covers: [
      VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('EINVAL'),
      VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('EFAULT'),
      VFIO_DEVICE_DETACH_IOMMUFD_PT.fails('EINVAL'),
      VFIO_DEVICE_DETACH_IOMMUFD_PT.fails('EFAULT'),
    ],
    source: [ATTACH, DETACH],
    ...NEEDS,
  },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    const ioas = io.allocIoas();
    for (const argsz of [0, 8, 11]) {
      expect(device.tryAttach(ioas, { argsz })).toFailWith('EINVAL');
    }
    for (const flags of [2, 0x80000000]) {
      expect(device.tryAttach(ioas, { argsz: 16, flags })).toFailWith('EINVAL');
      expect(device.tryDetach({ argsz: 12, flags })).toFailWith('EINVAL');
    }
    for (const argsz of [0, 4, 7]) expect(device.tryDetach({ argsz })).toFailWith('EINVAL');
    expect(ioctl(device.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, 0)).toFailWith('EFAULT');
    expect(ioctl(device.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, 0)).toFailWith('EFAULT');
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);

test(
  'group.cdev.attach-bad-address',
  'an attach whose answer cannot be written is undone',
  {
    covers: [VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('EFAULT')],
    source: ATTACH,
    ...NEEDS,
  },
  ({ openCdev, iommufd, memory }) => {
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    const ioas = io.allocIoas();
    const page = memory({ size: 4096, kind: '4k' });
    page.write(
      0,
      vfio_device_attach_iommufd_pt.encode({ argsz: 12, flags: 0, pt_id: ioas, pasid: 0 }),
    );
    sys.mprotect(page.address, 4096, PROT_READ);
    for (let again = 0; again < 2; again++) {
      const answer = ioctl(device.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, page.address);
      expect(answer).toFailWith('EFAULT');
    }
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);

test(
  'group.cdev.sleeps-after-use',
  'a device sleeps again after it was bound, attached, asked, detached and closed',
  {
    source: 'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl(): vfio_device_pm_runtime_put()',
    device: 'igb',
    needs: [CDEV],
  },
  ({ openCdev, iommufd, pci }) => {
    const asleep = () => runtimeStatus(pci) === 'suspended';
    for (let round = 0; round < 2; round++) {
      const device = openCdev();
      expect(eventually(asleep)).toBe(true);
      const io = iommufd();
      device.bind(io);
      const ioas = io.allocIoas();
      expect(device.tryAttach(0xffffffff)).toFailWith('ENOENT');
      for (let again = 0; again < 2; again++) {
        expect(device.tryAttach(ioas)).toSucceed(0);
        expect(device.config.read16(0)).toBe(pci.vendor);
        expect(device.tryDetach()).toSucceed(0);
      }
      expect(runtimeStatus(pci)).toBe('active');
      device.close();
      expect(eventually(asleep)).toBe(true);
    }
  },
);

test(
  'group.cdev.pasid-argsz',
  'ATTACH and DETACH with a PASID need the field that holds it',
  {
    covers: [
      VFIO_DEVICE_ATTACH_IOMMUFD_PT.flag('VFIO_DEVICE_ATTACH_PASID'),
      VFIO_DEVICE_DETACH_IOMMUFD_PT.flag('VFIO_DEVICE_DETACH_PASID'),
    ],
    source: [ATTACH, DETACH],
    since: '6.15',
    ...NEEDS,
  },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    const ioas = io.allocIoas();
    const attach = { flags: VFIO_DEVICE_ATTACH_PASID, pasid: 1 };
    const detach = { flags: VFIO_DEVICE_DETACH_PASID, pasid: 1 };
    for (const argsz of [12, 15]) {
      expect(device.tryAttach(ioas, { ...attach, argsz })).toFailWith('EINVAL');
    }
    for (const argsz of [8, 11]) {
      expect(device.tryDetach({ ...detach, argsz })).toFailWith('EINVAL');
    }
    // A PASID to which nothing is attached is detached without effect.
    expect(device.tryDetach({ ...detach, argsz: 12 })).toSucceed(0);
    // edu has no PASID: whatever the reason, it is refused, and nothing stays attached.
    expect(device.tryAttach(ioas, { ...attach, argsz: 16 }).ok).toBe(false);
    expect(device.tryAttach(ioas, { ...attach, argsz: 16 }).ok).toBe(false);
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);

test(
  'group.cdev.dma',
  'an attached device reaches what its address space maps, and a detached one nothing',
  {
    covers: [VFIO_DEVICE_ATTACH_IOMMUFD_PT, VFIO_DEVICE_DETACH_IOMMUFD_PT],
    source: [PHYSICAL, 'drivers/vfio/iommufd.c vfio_iommufd_physical_detach_ioas()'],
    peer: ['A14'],
    ...NEEDS,
    provokes: [/DMAR: .*(fault|DMA (Read|Write))/i],
  },
  ({ openCdev, iommufd, memory, defer }) => {
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    const [one, two] = [io.allocIoas(), io.allocIoas()];
    const [first, second] = [
      memory({ size: 8192, kind: '4k' }),
      memory({ size: 8192, kind: '4k' }),
    ];
    expect(io.tryMap(one, { iova: 0n, vaddr: first.address, size: 8192n })).toSucceed(0);
    expect(io.tryMap(two, { iova: 0n, vaddr: second.address, size: 8192n })).toSucceed(0);
    first.fill(1, 0, 4096);
    second.fill(2, 0, 4096);
    const edu = new Edu(device);
    defer(() => edu.unmap());
    expect(device.tryAttach(one)).toSucceed(0);
    edu.readMemory(0n, 4096);
    edu.writeMemory(4096n, 4096);
    expect(first.verify(1, 4096, 4096)).toBe(-1);
    expect(device.tryAttach(two)).toSucceed(0);
    edu.readMemory(0n, 4096);
    edu.writeMemory(4096n, 4096);
    expect(second.verify(2, 4096, 4096)).toBe(-1);
    expect(device.tryDetach()).toSucceed(0);
    first.fill(3);
    second.fill(4);
    edu.writeMemory(4096n, 4096);
    expect(first.verify(3)).toBe(-1);
    expect(second.verify(4)).toBe(-1);
  },
);

test(
  'group.cdev.close-order',
  'a device that is bound keeps its iommufd and what is mapped there, also when that fd is closed',
  {
    source: ['drivers/vfio/device_cdev.c vfio_df_unbind_iommufd()', PHYSICAL],
    ...NEEDS,
  },
  ({ openCdev, iommufd, memory }) => {
    const before = lockedMemory();
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    const ioas = io.allocIoas();
    const pages = memory({ size: 8192, kind: '4k' });
    expect(io.tryMap(ioas, { iova: 0n, vaddr: pages.address, size: 8192n })).toSucceed(0);
    expect(device.tryAttach(ioas)).toSucceed(0);
    io.close();
    pages.fill(9, 0, 4096);
    const edu = new Edu(device);
    edu.readMemory(0n, 4096);
    edu.writeMemory(4096n, 4096);
    expect(pages.verify(9, 4096, 4096)).toBe(-1);
    edu.unmap();
    device.close();
    expect(lockedMemory()).toEqual(before);
  },
);

test(
  'group.cdev.close-detaches',
  'closing a device takes it out of its address space and out of the iommufd',
  { source: 'drivers/vfio/iommufd.c vfio_iommufd_physical_unbind()', ...NEEDS },
  ({ openCdev, iommufd }) => {
    const io = iommufd();
    const ioas = io.allocIoas();
    for (let round = 0; round < 3; round++) {
      const device = openCdev();
      const id = device.bind(io);
      expect(device.tryAttach(ioas)).toSucceed(0);
      expect(io.tryDestroy(id)).toFailWith('EBUSY');
      device.close();
      expect(io.tryDestroy(id)).toFailWith('ENOENT');
    }
    expect(io.tryDestroy(ioas)).toSucceed(0);
  },
);

test(
  'group.cdev.two-iommufds',
  'the devices of one group are not shared by two iommufds',
  {
    source: 'drivers/vfio/iommufd.c vfio_iommufd_physical_bind()',
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [CDEV],
  },
  ({ openCdev, iommufd }) => {
    const [mine, theirs] = [iommufd(), iommufd()];
    const [one, two] = [openCdev(), openCdev('edu-pair-b')];
    one.bind(mine);
    expect(two.tryBind({ iommufd: theirs })).toFailWith('EPERM');
    expect(two.tryGetInfo()).toFailWith('EINVAL');
    expect(two.tryBind({ iommufd: mine })).toSucceed(0);
    one.close();
    two.close();
    const again = openCdev('edu-pair-b');
    expect(again.tryBind({ iommufd: theirs })).toSucceed(0);
  },
);
