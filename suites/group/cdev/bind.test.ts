import {
  BIND_SIZE_WITHOUT_TOKEN,
  CDEV,
  CdevDevice,
  Group,
  OWN_MACHINE,
  PROT_READ,
  VFIO_DEVICE_ATTACH_IOMMUFD_PT,
  VFIO_DEVICE_BIND_FLAG_TOKEN,
  VFIO_DEVICE_BIND_IOMMUFD,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_RESET,
  deviceNode,
  ERRNO,
  enableDevice,
  expect,
  ioctl,
  kernelAtLeast,
  MAP_SHARED,
  nodeFacts,
  scratchRegisters,
  setMemoryEnabled,
  sys,
  sysfsDev,
  test,
  vfio_device_bind_iommufd,
  vfioDevName,
} from '../../../harness/testing/index.ts';

const BIND = 'drivers/vfio/device_cdev.c vfio_df_ioctl_bind_iommufd()';
const FOPS = 'drivers/vfio/vfio_main.c vfio_device_fops_unl_ioctl()';
const NEEDS = { device: 'edu', needs: [CDEV] };

test(
  'group.cdev.node',
  'a registered device has a node of its own, which only root may open',
  {
    source: 'drivers/vfio/device_cdev.c vfio_init_device_cdev()',
    ...NEEDS,
    needs: [CDEV, OWN_MACHINE],
  },
  ({ pci }) => {
    const node = nodeFacts(deviceNode(pci));
    expect(node).toMatchObject({ isCharacterDevice: true, mode: 0o600, uid: 0, gid: 0 });
    expect(node.dev).toBe(sysfsDev(`${pci.path}/vfio-dev/${vfioDevName(pci)}`));
  },
);

test(
  'group.cdev.before-bind',
  'a device fd that is not bound to an iommufd does nothing',
  {
    covers: [VFIO_DEVICE_GET_INFO.fails('EINVAL'), VFIO_DEVICE_ATTACH_IOMMUFD_PT.fails('EINVAL')],
    source: FOPS,
    peer: ['S8'],
    ...NEEDS,
  },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const ioas = iommufd().allocIoas();
    expect(device.tryGetInfo()).toFailWith('EINVAL');
    expect(device.tryReset()).toFailWith('EINVAL');
    expect(ioctl(device.fd, VFIO_DEVICE_RESET)).toFailWith('EINVAL');
    expect(device.tryAttach(ioas)).toFailWith('EINVAL');
    expect(device.tryDetach()).toFailWith('EINVAL');
    expect(sys.pread(device.fd, Buffer.alloc(4), 7n << 40n)).toBe(-ERRNO.EINVAL);
    expect(sys.pwrite(device.fd, Buffer.alloc(4), 7n << 40n)).toBe(-ERRNO.EINVAL);
    expect(sys.mmap(0n, 4096, PROT_READ, MAP_SHARED, device.fd, 0)).toBe(BigInt(-ERRNO.EINVAL));
  },
);

test(
  'group.cdev.bind',
  'a device fd works as soon as it is bound to an iommufd',
  { covers: [VFIO_DEVICE_BIND_IOMMUFD], source: BIND, peer: ['S7', 'A14'], ...NEEDS },
  ({ openCdev, iommufd, pci }) => {
    const device = openCdev();
    const id = device.bind(iommufd());
    expect(id).toBeGreaterThan(0);
    expect(device.info().num_regions).toBeGreaterThan(0);
    expect(device.config.read16(0)).toBe(pci.vendor);
    expect(device.config.read16(2)).toBe(pci.device);
  },
);

test(
  'group.cdev.mapping',
  'a mapping made through the own node of a device goes with its memory and comes back with it',
  { source: 'drivers/vfio/device_cdev.c vfio_device_fops_cdev_open(): f_mapping', ...NEEDS },
  ({ openCdev, iommufd, map }) => {
    const device = openCdev();
    device.bind(iommufd());
    enableDevice(device);
    const { region, offset } = scratchRegisters('edu');
    const mapping = map(device.region(region));
    mapping.store32(offset, 0x4321);
    for (let round = 0; round < 2; round++) {
      setMemoryEnabled(device, false);
      expect(mapping.tryLoad(32, offset)).toFailWith('EIO');
      setMemoryEnabled(device, true);
      expect(mapping.load32(offset)).toBe(0x4321);
    }
  },
);

test(
  'group.cdev.bind-argsz',
  'BIND_IOMMUFD takes its struct with and without the token, and a longer one if the rest is zero',
  { covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EINVAL')], source: BIND, ...NEEDS },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    for (const argsz of [0, 8, BIND_SIZE_WITHOUT_TOKEN - 1]) {
      expect(device.tryBind({ iommufd: io, argsz })).toFailWith('EINVAL');
    }
    if (kernelAtLeast('6.18')) {
      const long = Buffer.alloc(64);
      vfio_device_bind_iommufd
        .encode({ argsz: 64, flags: 0, iommufd: io.fd, out_devid: 0, token_uuid_ptr: 0n })
        .copy(long);
      long[63] = 1;
      expect(ioctl(device.fd, VFIO_DEVICE_BIND_IOMMUFD, long)).toFailWith('E2BIG');
    }
    expect(device.tryBind({ iommufd: io, argsz: 64 })).toSucceed(0);
  },
);

test(
  'group.cdev.bind-flags',
  'BIND_IOMMUFD refuses flags that it does not know',
  { covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EINVAL')], source: BIND, ...NEEDS },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    for (const flags of [2, 4, 0x80000000]) {
      expect(device.tryBind({ iommufd: io, flags, argsz: 24 })).toFailWith('EINVAL');
    }
    expect(device.tryBind({ iommufd: io })).toSucceed(0);
  },
);

test(
  'group.cdev.bind-bad-iommufd',
  'BIND_IOMMUFD with an fd that is no iommufd is refused, and the device may be bound afterwards',
  {
    covers: [
      VFIO_DEVICE_BIND_IOMMUFD.fails('EINVAL'),
      VFIO_DEVICE_BIND_IOMMUFD.fails('EBADF'),
      VFIO_DEVICE_BIND_IOMMUFD.fails('EBADFD'),
    ],
    source: BIND,
    peer: ['S9'],
    ...NEEDS,
  },
  ({ openCdev, iommufd, eventfd, emptyContainer, pci }) => {
    const device = openCdev();
    for (const fd of [-1, -2]) expect(device.tryBind({ iommufd: fd })).toFailWith('EINVAL');
    expect(device.tryBind({ iommufd: 1023 })).toFailWith('EBADF');
    for (const { fd } of [eventfd(), emptyContainer(), device]) {
      expect(device.tryBind({ iommufd: fd })).toFailWith('EBADFD');
    }
    expect(device.tryGetInfo()).toFailWith('EINVAL');
    // A failed attempt does not keep the group from being opened.
    Group.open(pci.group!).close();
    expect(device.tryBind({ iommufd: iommufd() })).toSucceed(0);
  },
);

test(
  'group.cdev.bind-bad-address',
  'BIND_IOMMUFD with an argument that cannot be read or written is refused without effect',
  { covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EFAULT')], source: BIND, ...NEEDS },
  ({ openCdev, iommufd, memory, pci }) => {
    const device = openCdev();
    const io = iommufd();
    expect(ioctl(device.fd, VFIO_DEVICE_BIND_IOMMUFD, 0)).toFailWith('EFAULT');
    const page = memory({ size: 4096, kind: '4k' });
    page.write(
      0,
      vfio_device_bind_iommufd.encode({
        argsz: BIND_SIZE_WITHOUT_TOKEN,
        flags: 0,
        iommufd: io.fd,
        out_devid: 0,
        token_uuid_ptr: 0n,
      }),
    );
    sys.mprotect(page.address, 4096, PROT_READ);
    expect(ioctl(device.fd, VFIO_DEVICE_BIND_IOMMUFD, page.address)).toFailWith('EFAULT');
    sys.mprotect(page.address, 4096, 3);
    Group.open(pci.group!).close();
    expect(device.tryBind({ iommufd: io })).toSucceed(0);
  },
);

test(
  'group.cdev.bind-twice',
  'a device fd is bound once',
  { covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EINVAL')], source: BIND, peer: ['S10'], ...NEEDS },
  ({ openCdev, iommufd }) => {
    const device = openCdev();
    const io = iommufd();
    device.bind(io);
    expect(device.tryBind({ iommufd: io })).toFailWith('EINVAL');
    expect(device.tryBind({ iommufd: iommufd() })).toFailWith('EINVAL');
    expect(device.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'group.cdev.second-fd',
  'a second fd of a device that is bound can be opened, not bound, until the first is closed',
  {
    covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EINVAL')],
    source: 'drivers/vfio/vfio_main.c vfio_df_open()',
    ...NEEDS,
  },
  ({ openCdev, iommufd }) => {
    const [first, second] = [openCdev(), openCdev()];
    const io = iommufd();
    first.bind(io);
    expect(second.tryBind({ iommufd: io })).toFailWith('EINVAL');
    expect(second.tryGetInfo()).toFailWith('EINVAL');
    expect(first.info().num_regions).toBeGreaterThan(0);
    first.close();
    expect(second.tryBind({ iommufd: io })).toSucceed(0);
    expect(second.info().num_regions).toBeGreaterThan(0);
  },
);

test(
  'group.cdev.group-exclusive',
  'a group is not opened while one of its devices is bound through its node, and the other way round',
  {
    covers: [VFIO_DEVICE_BIND_IOMMUFD.fails('EBUSY')],
    source: [
      'drivers/vfio/group.c vfio_device_block_group()',
      'drivers/vfio/group.c vfio_group_fops_open()',
    ],
    ...NEEDS,
  },
  ({ openCdev, iommufd, pci }) => {
    const device = openCdev();
    const io = iommufd();
    const group = Group.open(pci.group!);
    expect(device.tryBind({ iommufd: io })).toFailWith('EBUSY');
    group.close();
    device.bind(io);
    expect(Group.tryOpen(pci.group!)).toFailWith('EBUSY');
    expect(Group.tryOpen(pci.group!)).toFailWith('EBUSY');
    device.close();
    Group.open(pci.group!).close();
  },
);

test(
  'group.cdev.group-exclusive-pair',
  'a group is opened only when the last of its bound devices is closed',
  {
    source: 'drivers/vfio/group.c vfio_device_unblock_group()',
    device: 'edu-pair-a',
    uses: ['edu-pair-b'],
    needs: [CDEV],
  },
  ({ openCdev, iommufd, pci }) => {
    const io = iommufd();
    const [one, two] = [openCdev(), openCdev('edu-pair-b')];
    const ids = [one.bind(io), two.bind(io)];
    expect(new Set(ids).size).toBe(2);
    one.close();
    expect(Group.tryOpen(pci.group!)).toFailWith('EBUSY');
    two.close();
    Group.open(pci.group!).close();
  },
);

test(
  'group.cdev.token-unused',
  'a token for a device that is neither PF nor VF is refused',
  {
    covers: [VFIO_DEVICE_BIND_IOMMUFD.flag('VFIO_DEVICE_BIND_FLAG_TOKEN')],
    source: 'drivers/vfio/device_cdev.c vfio_df_check_token()',
    since: '6.18',
    ...NEEDS,
  },
  ({ openCdev, iommufd, memory }) => {
    const device = openCdev();
    const io = iommufd();
    const { address } = memory({ size: 4096, kind: '4k' });
    const bind = { iommufd: io, flags: VFIO_DEVICE_BIND_FLAG_TOKEN, argsz: 24 };
    expect(device.tryBind({ ...bind, token: address })).toFailWith('EINVAL');
    expect(device.tryBind({ ...bind, token: 8n })).toFailWith('EFAULT');
    expect(device.tryBind({ iommufd: io })).toSucceed(0);
  },
);

test(
  'group.cdev.open-class',
  'the node is opened any number of times, and each unbound fd is closed without effect',
  { source: 'drivers/vfio/device_cdev.c vfio_device_fops_cdev_open()', ...NEEDS },
  ({ openCdev, iommufd, pci }) => {
    const device = openCdev();
    device.bind(iommufd());
    for (let again = 0; again < 20; again++) CdevDevice.tryOpen(pci).get()!.close();
    expect(device.config.read16(0)).toBe(pci.vendor);
  },
);
