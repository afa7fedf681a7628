import {
  Program,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_ROM_REGION_INDEX,
  enableDevice,
  eventually,
  expect,
  ioctl,
  msixTable,
  test,
  tryIoeventfd,
  vfio_device_ioeventfd,
} from '../../../harness/testing/index.ts';

const IOCTL = 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_ioeventfd()';
const IOEVENTFD = 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd()';
/** 64 bits came later. */
const WIDTHS = [
  { id: '', title: 'up to 32 bits', widths: [1, 2, 4] },
  { id: '.64', title: '64 bits', widths: [8], since: '6.11' },
];
const SHARED = 2;
/** VFIO_PCI_IOEVENTFD_MAX: what one device keeps. */
const MOST = 1000;
/** Up to and without `reserved`. */
const LEAST_SIZE = 28;

test(
  'device.ioeventfd.argsz',
  'a structure that ends before the fd is refused, one that ends behind it is enough',
  { covers: [VFIO_DEVICE_IOEVENTFD.fails('EINVAL')], source: IOCTL, device: 'ivshmem' },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const { fd } = eventfd();
    const assignment = { width: 4, offset: 0, data: 0n, fd };
    for (const argsz of [0, 8, 24, LEAST_SIZE - 1]) {
      expect(tryIoeventfd(device, region, { ...assignment, argsz })).toFailWith('EINVAL');
    }
    for (const [index, argsz] of [LEAST_SIZE, vfio_device_ioeventfd.size, 4096].entries()) {
      expect(tryIoeventfd(device, region, { ...assignment, data: BigInt(index), argsz })).toSucceed(
        0,
      );
    }
  },
);

test(
  'device.ioeventfd.flags',
  'exactly one width must be given, and no other flag',
  { covers: [VFIO_DEVICE_IOEVENTFD.fails('EINVAL')], source: IOCTL, device: 'ivshmem' },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const { fd } = eventfd();
    for (const flags of [0, 3, 5, 6, 7, 9, 10, 12, 15, 16, 20, 32, 0x104, 0x8000_0004]) {
      const answer = tryIoeventfd(device, region, { width: 4, offset: 0, data: 0n, fd, flags });
      expect(answer, `flags ${flags}`).toFailWith('EINVAL');
    }
  },
);

test(
  'device.ioeventfd.bad-fd',
  'an fd that is no eventfd is refused, and leaves nothing behind',
  {
    covers: [
      VFIO_DEVICE_IOEVENTFD.fails('EBADF'),
      VFIO_DEVICE_IOEVENTFD.fails('EINVAL'),
      VFIO_DEVICE_IOEVENTFD.fails('ENODEV'),
    ],
    source: [IOCTL, IOEVENTFD, 'drivers/vfio/virqfd.c vfio_virqfd_enable()'],
    device: 'ivshmem',
  },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const assignment = { width: 4, offset: 0, data: 5n };
    expect(tryIoeventfd(device, region, { ...assignment, fd: 9999 })).toFailWith('EBADF');
    expect(tryIoeventfd(device, region, { ...assignment, fd: device.fd })).toFailWith('EINVAL');
    expect(tryIoeventfd(device, region, { ...assignment, fd: -2 })).toFailWith('EINVAL');
    expect(tryIoeventfd(device, region, { ...assignment, fd: -2147483648 })).toFailWith('EINVAL');
    expect(tryIoeventfd(device, region, { ...assignment, fd: -1 })).toFailWith('ENODEV');
    expect(tryIoeventfd(device, region, { ...assignment, fd: eventfd().fd })).toSucceed(0);
  },
);

test(
  'device.ioeventfd.identity',
  'an assignment is known by its place, width and data: the same one is refused, any other is not',
  { covers: [VFIO_DEVICE_IOEVENTFD.fails('EEXIST')], source: IOEVENTFD, device: 'ivshmem' },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const other = device.region(0);
    const [first, second] = [eventfd(), eventfd()];
    const base = { width: 4, offset: 8, data: 0x10n };
    const variants = [
      { ...base, width: 2 },
      { ...base, offset: 12 },
      { ...base, data: 0x11n },
    ];
    expect(tryIoeventfd(device, region, { ...base, fd: first.fd })).toSucceed(0);
    for (const fd of [first.fd, second.fd]) {
      expect(tryIoeventfd(device, region, { ...base, fd })).toFailWith('EEXIST');
    }
    for (const variant of variants) {
      expect(tryIoeventfd(device, region, { ...variant, fd: -1 })).toFailWith('ENODEV');
    }
    expect(tryIoeventfd(device, other, { ...base, fd: -1 })).toFailWith('ENODEV');
    for (const variant of variants) {
      expect(tryIoeventfd(device, region, { ...variant, fd: second.fd })).toSucceed(0);
    }
    expect(tryIoeventfd(device, other, { ...base, fd: second.fd })).toSucceed(0);
    expect(tryIoeventfd(device, region, { ...base, fd: -1 })).toSucceed(0);
    for (const variant of variants) {
      expect(tryIoeventfd(device, region, { ...variant, fd: -1 })).toSucceed(0);
    }
    expect(tryIoeventfd(device, other, { ...base, fd: -1 })).toSucceed(0);
  },
);

for (const { id, title, widths, since } of WIDTHS) {
  test(
    `device.ioeventfd.bounds${id}`,
    `a write of ${title} lies within a BAR: its last bytes are allowed, one more is not`,
    {
      covers: [VFIO_DEVICE_IOEVENTFD.fails('EINVAL')],
      source: IOEVENTFD,
      devices: ['ivshmem', 'edu', 'igb'],
      since,
    },
    ({ device, eventfd }) => {
      enableDevice(device);
      const { fd } = eventfd();
      for (const index of [0, 1, 2, 3, 4, 5]) {
        const region = device.region(index);
        for (const width of widths) {
          const assign = (offset: number, given = fd) =>
            tryIoeventfd(device, region, { width, offset, data: 0n, fd: given });
          expect(assign(region.size), `BAR ${index}`).toFailWith('EINVAL');
          expect(assign(region.size - width + 1)).toFailWith('EINVAL');
          if (region.size === 0) continue;
          expect(assign(region.size - width)).toSucceed(0);
          expect(assign(region.size - width, -1)).toSucceed(0);
        }
      }
    },
  );

  test(
    `device.ioeventfd.msix-table${id}`,
    `no write of ${title} may touch the MSI-X table, and writes right beside it may`,
    {
      covers: [VFIO_DEVICE_IOEVENTFD.fails('EINVAL')],
      source: `${IOEVENTFD}: msix_offset`,
      devices: ['igb', 'nvme', 'xhci'],
      since,
    },
    ({ device, eventfd }) => {
      enableDevice(device);
      const { fd } = eventfd();
      const { bar, offset, size } = msixTable(device);
      const region = device.region(bar);
      for (const width of widths) {
        const assign = (at: number) =>
          tryIoeventfd(device, region, { width, offset: at, data: 0n, fd });
        for (const at of [offset, offset + 8, offset + size - width, offset + size - 1]) {
          expect(assign(at), `${width} bytes at ${at}`).toFailWith('EINVAL');
        }
        expect(assign(offset + size)).toSucceed(0);
        if (offset > 0) {
          expect(assign(offset - width)).toSucceed(0);
          if (width > 1) expect(assign(offset - 1)).toFailWith('EINVAL');
        }
      }
      const elsewhere = device.region(bar === 0 ? 0 : bar - 3);
      const at = bar === 0 ? 0 : offset;
      expect(tryIoeventfd(device, elsewhere, { width: 4, offset: at, data: 1n, fd })).toSucceed(0);
    },
  );
}

test(
  'device.ioeventfd.regions',
  'only BARs take such writes',
  {
    covers: [VFIO_DEVICE_IOEVENTFD.fails('EINVAL')],
    source: IOEVENTFD,
    devices: ['e1000e', 'vga'],
  },
  ({ device, eventfd }) => {
    enableDevice(device);
    const { fd } = eventfd();
    for (const index of [VFIO_PCI_ROM_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX, 8, 9, 200]) {
      const argument = vfio_device_ioeventfd.encode({
        argsz: vfio_device_ioeventfd.size,
        flags: 4,
        offset: (BigInt(index) << 40n) + 0n,
        data: 0n,
        fd,
        reserved: 0,
      });
      expect(ioctl(device.fd, VFIO_DEVICE_IOEVENTFD, argument), `region ${index}`).toFailWith(
        'EINVAL',
      );
    }
  },
);

test(
  'device.ioeventfd.limit',
  'a device keeps 1000 assignments, refuses the next, and takes one again for each taken back',
  {
    covers: [VFIO_DEVICE_IOEVENTFD.fails('ENOSPC')],
    source: `${IOEVENTFD}: VFIO_PCI_IOEVENTFD_MAX`,
    device: 'ivshmem',
  },
  ({ device, eventfd }) => {
    enableDevice(device);
    const region = device.region(SHARED);
    const kick = eventfd();
    region.write(0, Buffer.alloc(4 * (MOST + 8)));
    const refused = { width: 4, offset: 0, data: 0n, fd: device.fd };
    expect(tryIoeventfd(device, region, refused), 'which counts for nothing').toFailWith('EINVAL');
    const assignments = (indexes: number[], fd: number): number[] => {
      const program = new Program();
      const refs = indexes.map((index) => {
        const argument = vfio_device_ioeventfd.encode({
          argsz: vfio_device_ioeventfd.size,
          flags: 4,
          offset: region.info.offset + BigInt(4 * index),
          data: BigInt(index + 1),
          fd,
          reserved: 0,
        });
        return program.syscall(
          'ioctl',
          device.fd,
          VFIO_DEVICE_IOEVENTFD.request,
          program.data(argument),
        );
      });
      program.run();
      return refs.map((ref) => program.result(ref));
    };
    const all = Array.from({ length: MOST }, (_, index) => index);
    expect(assignments(all, kick.fd).filter((result) => result !== 0)).toEqual([]);
    expect(assignments([MOST, MOST + 1], kick.fd)).toEqual([-28, -28]);
    expect(assignments([0], kick.fd)).toEqual([-17]);
    expect(assignments([500], -1)).toEqual([0]);
    expect(assignments([MOST, MOST + 1], kick.fd)).toEqual([0, -28]);
    kick.signal();
    const written = () => {
      const words = region.read(0, 4 * (MOST + 2));
      return all.filter((index) => words.readUInt32LE(4 * index) === index + 1).length;
    };
    expect(eventually(() => written() === MOST - 1)).toBe(true);
    expect([region.read32(4 * 500), region.read32(4 * MOST), region.read32(4 * MOST + 4)]).toEqual([
      0,
      MOST + 1,
      0,
    ]);
  },
);

test(
  'device.ioeventfd.limit-per-use',
  'the assignments of one user do not count for the next one',
  {
    covers: [VFIO_DEVICE_IOEVENTFD.fails('ENOSPC')],
    source: 'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_disable(): ioeventfds_nr',
    device: 'ivshmem',
  },
  ({ group, pci, openDevice, eventfd }) => {
    const { fd } = eventfd();
    for (let user = 0; user < 2; user++) {
      const device = openDevice(group, pci.bdf);
      enableDevice(device);
      const { offset } = device.region(SHARED).info;
      const program = new Program();
      const refs = Array.from({ length: MOST + 1 }, (_, index) => {
        const argument = vfio_device_ioeventfd.encode({
          argsz: vfio_device_ioeventfd.size,
          flags: 4,
          offset: offset + BigInt(4 * index),
          data: 0n,
          fd,
          reserved: 0,
        });
        const data = program.data(argument);
        return program.syscall('ioctl', device.fd, VFIO_DEVICE_IOEVENTFD.request, data);
      });
      program.run();
      const results = refs.map((ref) => program.result(ref));
      expect(results, `user ${user}`).toEqual([...new Array<number>(MOST).fill(0), -28]);
      device.close();
    }
  },
);
