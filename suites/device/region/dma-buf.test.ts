import { readFileSync } from 'node:fs';
import {
  GET_DMA_BUF,
  FD_CLOEXEC,
  F_GETFD,
  F_GETFL,
  MAP_SHARED,
  O_ACCMODE,
  O_CLOEXEC,
  O_RDONLY,
  O_RDWR,
  OWN_MACHINE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  bindTo,
  dmaBufExport,
  enableDevice,
  expect,
  ioctl,
  require,
  setMemoryEnabled,
  startUnbinding,
  sys,
  test,
  tryExportDmaBuf,
  vfio_device_feature,
  vfio_device_feature_dma_buf,
  type Answer,
  type Device,
  type DmaBufExport,
} from '../../../harness/testing/index.ts';

const DMABUF = 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_core_feature_dma_buf()';
const VALIDATE = 'drivers/vfio/pci/vfio_pci_dmabuf.c validate_dmabuf_input()';
const FILL = 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_core_fill_phys_vec()';
const COVERS = [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_BUF')];
const PAGE = 4096n;
const SHARED = 2;
/** struct vfio_region_dma_range */
const RANGE = 16;

function tryExport(
  device: Device,
  { region = SHARED, ...options }: Omit<DmaBufExport, 'region'> & { region?: number },
): Answer<Buffer> {
  return tryExportDmaBuf(device, { region, ...options });
}

/** What /proc tells of a dma-buf fd. */
function fdInfo(fd: number): { size: number; exporter: string } {
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8');
  return {
    size: Number(/^size:\s*(\d+)/m.exec(text)?.[1] ?? -1),
    exporter: /^exp_name:\s*(\S+)/m.exec(text)?.[1] ?? '',
  };
}

test(
  'device.dma-buf.probe',
  'dma-bufs can be got and not set',
  {
    covers: [...COVERS, VFIO_DEVICE_FEATURE.fails('EINVAL')],
    source: DMABUF,
    since: '7.0',
    devices: ['ivshmem', 'igb'],
  },
  ({ device }) => {
    require(dmaBufExport(device));
    const ask = (flags: number) =>
      device.tryFeature(flags | VFIO_DEVICE_FEATURE_DMA_BUF, Buffer.alloc(64));
    expect(ask(VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET)).toSucceed(0);
    expect(ask(VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET)).toFailWith('EINVAL');
    expect(ask(VFIO_DEVICE_FEATURE_SET)).toFailWith('EINVAL');
    expect(ask(0)).toFailWith('EINVAL');
  },
);

test(
  'device.dma-buf.export',
  'ranges of a BAR become one dma-buf of the size of all of them',
  { covers: COVERS, source: DMABUF, since: '7.0', device: 'ivshmem' },
  ({ device, defer }) => {
    require(dmaBufExport(device));
    enableDevice(device);
    const { size } = device.region(SHARED).info;
    const cases: [bigint, bigint][][] = [
      [[0n, PAGE]],
      [[0n, size]],
      [[size - PAGE, PAGE]],
      [
        [0n, PAGE],
        [2n * PAGE, 3n * PAGE],
      ],
      [
        [8n * PAGE, PAGE],
        [0n, PAGE],
        [8n * PAGE, PAGE],
      ],
    ];
    for (const ranges of cases) {
      const answer = tryExport(device, { ranges });
      const fd = answer.must();
      defer(() => sys.close(fd));
      const total = ranges.reduce((sum, [, length]) => sum + length, 0n);
      expect(fdInfo(fd)).toMatchObject({ size: Number(total) });
      expect(fdInfo(fd).exporter).toMatch(/^vfio/);
      expect(sys.mmap(0n, 4096, PROT_READ, MAP_SHARED, fd, 0)).toBe(-22n);
    }
  },
);

test(
  'device.dma-buf.open-flags',
  'the fd is opened with the flags asked for',
  { covers: COVERS, source: DMABUF, since: '7.0', device: 'ivshmem' },
  ({ device, defer }) => {
    require(dmaBufExport(device));
    for (const [openFlags, descriptor, access] of [
      [O_RDWR | O_CLOEXEC, FD_CLOEXEC, O_RDWR],
      [O_RDWR, 0, O_RDWR],
      [O_RDONLY, 0, O_RDONLY],
    ] as const) {
      const fd = tryExport(device, { ranges: [[0n, PAGE]], openFlags }).must();
      defer(() => sys.close(fd));
      const program = new Program();
      const flags = program.syscall('fcntl', fd, F_GETFD, 0);
      const mode = program.syscall('fcntl', fd, F_GETFL, 0);
      program.run();
      expect(program.result(flags)).toBe(descriptor);
      expect(program.result(mode) & O_ACCMODE).toBe(access);
    }
  },
);

test(
  'device.dma-buf.ranges',
  'a range must be pages of the BAR, and there must be one',
  {
    covers: [
      ...COVERS,
      VFIO_DEVICE_FEATURE.fails('EINVAL'),
      VFIO_DEVICE_FEATURE.fails('EOVERFLOW'),
    ],
    source: [VALIDATE, FILL],
    since: '7.0',
    device: 'ivshmem',
  },
  ({ device }) => {
    require(dmaBufExport(device));
    const { size } = device.region(SHARED).info;
    const bad: (readonly [bigint, bigint])[][] = [
      [],
      [[0n, 0n]],
      [[1n, PAGE]],
      [[2048n, PAGE]],
      [[0n, 100n]],
      [[0n, PAGE + 1n]],
      [[0n, size + PAGE]],
      [[size, PAGE]],
      [[size - PAGE, 2n * PAGE]],
      [
        [0n, PAGE],
        [0n, 0n],
      ],
      [
        [0n, PAGE],
        [size, PAGE],
      ],
      [
        [0n, 1n << 63n],
        [0n, 1n << 63n],
      ],
    ];
    for (const ranges of bad) {
      expect(tryExport(device, { ranges }), ranges.join(' ')).toFailWith('EINVAL');
    }
    expect(tryExport(device, { ranges: [[-PAGE & ((1n << 64n) - 1n), PAGE]] })).toFailWith(
      'EOVERFLOW',
    );
  },
);

test(
  'device.dma-buf.arguments',
  'flags, a short structure, and a region without memory are refused',
  {
    covers: [...COVERS, VFIO_DEVICE_FEATURE.fails('EINVAL'), VFIO_DEVICE_FEATURE.fails('ENODEV')],
    source: DMABUF,
    since: '7.0',
    device: 'igb',
  },
  ({ device }) => {
    require(dmaBufExport(device));
    const ranges = [[0n, PAGE]] as const;
    expect(tryExport(device, { region: 0, ranges, flags: 1 })).toFailWith('EINVAL');
    expect(tryExport(device, { region: 0, ranges, argsz: 8 + 15 })).toFailWith('EINVAL');
    for (const region of [6, 7, 8, 9, 0xffff_ffff]) {
      expect(tryExport(device, { region, ranges }), `region ${region}`).toFailWith('ENODEV');
    }
    const absent = [0, 1, 2, 3, 4, 5].filter((index) => device.regionInfo(index).size === 0n);
    expect(absent.length).toBeGreaterThan(0);
    for (const region of absent) {
      expect(tryExport(device, { region, ranges }), `region ${region}`).toFailWith('ENODEV');
    }
  },
);

test(
  'device.dma-buf.bad-address',
  'ranges that cannot be read to their end are answered with EFAULT',
  {
    covers: [...COVERS, VFIO_DEVICE_FEATURE.fails('EFAULT')],
    source: `${DMABUF}: memdup_array_user()`,
    since: '7.0',
    device: 'ivshmem',
  },
  ({ device, memory }) => {
    require(dmaBufExport(device));
    const header = vfio_device_feature.size + vfio_device_feature_dma_buf.size;
    const pages = memory({ size: 8192, kind: '4k' });
    const at = 4096 - header - RANGE;
    const ask = (count: number) => {
      pages.write(
        at,
        Buffer.concat([
          vfio_device_feature.encode({
            argsz: header + count * RANGE,
            flags: VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
          }),
          vfio_device_feature_dma_buf.encode({
            region_index: SHARED,
            open_flags: O_RDWR | O_CLOEXEC,
            flags: 0,
            nr_ranges: count,
          }),
          Buffer.alloc(8),
          Buffer.from([0, 0x10, 0, 0, 0, 0, 0, 0]),
        ]),
      );
      return ioctl(device.fd, GET_DMA_BUF, pages.address + BigInt(at));
    };
    sys.mprotect(pages.address + PAGE, 4096, PROT_NONE);
    expect(ask(2)).toFailWith('EFAULT');
    const exported = ask(1);
    expect(exported).toSucceed();
    sys.close(exported.result);
    sys.mprotect(pages.address + PAGE, 4096, PROT_READ | PROT_WRITE);
  },
);

test(
  'device.dma-buf.io',
  'an I/O BAR cannot be exported',
  {
    covers: COVERS,
    source: 'drivers/pci/p2pdma.c pcim_p2pdma_provider()',
    since: '7.0',
    device: 'igb',
  },
  ({ device }) => {
    require(dmaBufExport(device));
    expect(tryExport(device, { region: 2, ranges: [[0n, PAGE]] })).toFailWith('EINVAL');
  },
);

test(
  'device.dma-buf.outlives',
  'a dma-buf may outlive the device fd, and the device can be opened again meanwhile',
  {
    covers: COVERS,
    source: 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_dma_buf_cleanup()',
    since: '7.0',
    device: 'ivshmem',
  },
  ({ group, pci, openDevice, defer }) => {
    const first = openDevice(group, pci.bdf);
    require(dmaBufExport(first));
    const fds = [0n, PAGE].map((offset) => tryExport(first, { ranges: [[offset, PAGE]] }).must());
    const [kept, early] = fds as [number, number];
    defer(() => sys.close(kept));
    expect(sys.close(early)).toBe(0);
    first.close();
    expect(fdInfo(kept).size).toBe(4096);
    const second = openDevice(group, pci.bdf);
    const third = tryExport(second, { ranges: [[0n, PAGE]] }).must();
    expect(sys.close(third)).toBe(0);
  },
);

test(
  'device.dma-buf.revoked',
  'disabling and enabling memory, and closing afterwards, works with dma-bufs open',
  {
    covers: COVERS,
    source: 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_dma_buf_move()',
    since: '7.0',
    device: 'ivshmem',
  },
  ({ device, defer, map }) => {
    require(dmaBufExport(device));
    enableDevice(device);
    const mapping = map(device.region(SHARED), { size: PAGE });
    const before = tryExport(device, { ranges: [[0n, PAGE]] }).must();
    defer(() => sys.close(before));
    for (let round = 0; round < 3; round++) {
      setMemoryEnabled(device, false);
      const during = tryExport(device, { ranges: [[PAGE, PAGE]] }).must();
      defer(() => sys.close(during));
      expect(mapping.tryLoad(32, 0)).toFailWith('EIO');
      setMemoryEnabled(device, true);
      expect(mapping.tryLoad(32, 0)).toSucceed();
    }
    expect(fdInfo(before).size).toBe(4096);
  },
);

for (const [first, title] of [
  ['buffer', 'a device can be unbound when its dma-buf is closed and it is itself'],
  ['device', 'a dma-buf that outlives the use of its device does not hold the device'],
] as const) {
  test(
    `device.dma-buf.unbind.${first}-closed-first`,
    title,
    {
      covers: COVERS,
      source: 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_dma_buf_cleanup()',
      since: '7.0',
      device: 'ivshmem',
      needs: [OWN_MACHINE],
    },
    ({ actor, device, defer, pci }) => {
      require(dmaBufExport(device));
      enableDevice(device);
      const writer = actor();
      const fd = tryExport(device, { ranges: [[0n, PAGE]] }).must();
      if (first === 'buffer') expect(sys.close(fd)).toBe(0);
      else defer(() => sys.close(fd));
      device.close();
      expect(startUnbinding(writer, pci).ends()).toBe(true);
      bindTo(pci, 'vfio-pci');
    },
  );
}
