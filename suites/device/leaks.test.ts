import {
  ERRNO,
  O_CLOEXEC,
  O_RDWR,
  Program,
  SLABINFO,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_GROUP_GET_DEVICE_FD,
  dmaBufExport,
  enableDevice,
  expect,
  expectNoKernelLeak,
  fds,
  require,
  sys,
  test,
  vfio_device_feature,
  vfio_device_feature_dma_buf,
  vfio_device_ioeventfd,
  vfio_pci_hot_reset,
  vfio_pci_hot_reset_info,
  vfio_region_info,
  type Ref,
  type Requirement,
  type TestContext,
} from '../../harness/testing/index.ts';

const ROUNDS = 1000;
const OPTIONS = { needs: [SLABINFO], timeoutMs: 180_000 };

for (const [name, title, fdOf] of [
  ['assigned', 'an assignment made and taken back', (fd: number) => [fd, -1]],
  [
    'refused',
    'an assignment refused because its fd is no eventfd',
    (_: number, device: number) => [device],
  ],
] as const) {
  test(
    `device.leak.ioeventfd.${name}`,
    `${title}, again and again, costs the kernel no memory in the end`,
    {
      ...OPTIONS,
      covers: [VFIO_DEVICE_IOEVENTFD],
      source: 'drivers/vfio/pci/vfio_pci_rdwr.c vfio_pci_ioeventfd()',
      device: 'ivshmem',
    },
    ({ device, eventfd }) => {
      enableDevice(device);
      const { offset } = device.region(2).info;
      const given = fdOf(eventfd().fd, device.fd);
      const program = new Program({ ops: ROUNDS * given.length });
      const calls = given.map((fd) =>
        program.data(
          vfio_device_ioeventfd.encode({
            argsz: vfio_device_ioeventfd.size,
            flags: 4,
            offset,
            data: 0n,
            fd,
            reserved: 0,
          }),
        ),
      );
      const refs = Array.from({ length: ROUNDS }, () =>
        calls.map((call) =>
          program.syscall('ioctl', device.fd, VFIO_DEVICE_IOEVENTFD.request, call),
        ),
      ).flat();
      expectNoKernelLeak(ROUNDS, () => program.run());
      const wanted = name === 'assigned' ? 0 : -22;
      expect(refs.filter((ref) => program.result(ref) !== wanted)).toEqual([]);
    },
  );
}

test(
  'device.leak.open',
  'a device opened and closed again and again costs the kernel no memory in the end',
  {
    ...OPTIONS,
    covers: [VFIO_GROUP_GET_DEVICE_FD],
    source: [
      'drivers/vfio/pci/vfio_pci_config.c vfio_config_init(), vfio_config_free()',
      'drivers/vfio/pci/vfio_pci_core.c vfio_pci_core_enable(), vfio_pci_core_disable()',
    ],
    device: 'xhci-msi',
  },
  ({ group, pci }) => {
    const OPENS = 150;
    const program = new Program();
    const name = program.data(pci.bdf);
    const open = program.syscall('ioctl', group.fd, VFIO_GROUP_GET_DEVICE_FD.request, name);
    program.syscall('close', open);
    const loop = program.repeat(open, OPENS);
    expectNoKernelLeak(OPENS, () => program.run());
    expect(program.count(loop)).toBe(OPENS);
  },
);

/** A call on a device that is repeated, and what it has to answer. */
interface Repeated {
  name: string;
  title: string;
  covers: { toString(): string }[];
  source: string;
  device: string;
  since?: string;
  needed?(t: TestContext): Requirement;
  /** Adds the calls of one round. */
  add(program: Program, t: TestContext): Ref[];
  answers: number[];
}

const CORE = 'drivers/vfio/pci/vfio_pci_core.c';
const MSIX_BAR_OF_IGB = 3;
/** Each call has an argument of its own, which the kernel may write to. */
const CALL_ROUNDS = 120;

/** One ioctl of the device in a program. */
function addIoctl(program: Program, { device }: TestContext, request: number, bytes: Buffer): Ref {
  return program.syscall('ioctl', device.fd, request, program.data(bytes));
}

/** The address of some bytes with no memory behind them. */
function endOfMemory({ memory }: TestContext, bytes: Buffer): bigint {
  const ram = memory({ size: 2 * 4096, kind: '4k' });
  sys.munmap(ram.address + 4096n, 4096);
  ram.write(4096 - bytes.length, bytes);
  return ram.address + BigInt(4096 - bytes.length);
}

/** VFIO_DEVICE_FEATURE_DMA_BUF of the memory of ivshmem. */
function addExport(program: Program, t: TestContext, offset: bigint, length: bigint): Ref {
  const ranges = Buffer.alloc(16);
  ranges.writeBigUInt64LE(offset, 0);
  ranges.writeBigUInt64LE(length, 8);
  const data = [
    vfio_device_feature_dma_buf.encode({
      region_index: 2,
      open_flags: O_RDWR | O_CLOEXEC,
      flags: 0,
      nr_ranges: 1,
    }),
    ranges,
  ];
  const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF;
  const argsz = vfio_device_feature.size + data.reduce((sum, { length }) => sum + length, 0);
  const header = vfio_device_feature.encode({ argsz, flags });
  return addIoctl(program, t, VFIO_DEVICE_FEATURE.request, Buffer.concat([header, ...data]));
}

const CALLS: Repeated[] = [
  {
    name: 'region-info',
    title: 'the region with the MSI-X table asked for, with room for its capability and without',
    covers: [VFIO_DEVICE_GET_REGION_INFO],
    source: 'drivers/vfio/vfio_main.c vfio_get_region_info()',
    device: 'igb',
    add: (program, t) =>
      [vfio_region_info.size, 64].map((argsz) => {
        const bytes = Buffer.alloc(64);
        bytes.writeUInt32LE(argsz, 0);
        bytes.writeUInt32LE(MSIX_BAR_OF_IGB, 8);
        return addIoctl(program, t, VFIO_DEVICE_GET_REGION_INFO.request, bytes);
      }),
    answers: [0, 0],
  },
  {
    name: 'hot-reset-info',
    title: 'the functions of a hot reset asked for, with room for them and without',
    covers: [VFIO_DEVICE_GET_PCI_HOT_RESET_INFO],
    source: `${CORE} vfio_pci_ioctl_get_pci_hot_reset_info()`,
    device: 'igb',
    add: (program, t) =>
      [vfio_pci_hot_reset_info.size, 64].map((argsz) => {
        const bytes = Buffer.alloc(64);
        bytes.writeUInt32LE(argsz, 0);
        return addIoctl(program, t, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO.request, bytes);
      }),
    answers: [-ERRNO.ENOSPC, 0],
  },
  {
    name: 'hot-reset-refused',
    title: 'a hot reset refused because what is shown is no group, no fd, or not there',
    covers: [
      VFIO_DEVICE_PCI_HOT_RESET.fails('EINVAL'),
      VFIO_DEVICE_PCI_HOT_RESET.fails('EBADF'),
      VFIO_DEVICE_PCI_HOT_RESET.fails('EFAULT'),
    ],
    source: `${CORE} vfio_pci_ioctl_pci_hot_reset_groups()`,
    device: 'igb',
    add: (program, t) => {
      const header = vfio_pci_hot_reset.encode({
        argsz: vfio_pci_hot_reset.size + 4,
        flags: 0,
        count: 1,
      });
      const { request } = VFIO_DEVICE_PCI_HOT_RESET;
      const shown = [t.device.fd, 9999].map((fd) =>
        addIoctl(program, t, request, Buffer.concat([header, fds([fd])])),
      );
      const end = endOfMemory(t, header);
      return [...shown, program.syscall('ioctl', t.device.fd, request, end)];
    },
    answers: [-ERRNO.EINVAL, -ERRNO.EBADF, -ERRNO.EFAULT],
  },
  {
    name: 'dma-buf',
    title: 'a dma-buf made and closed, and one refused because of its ranges',
    covers: [VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_BUF')],
    source: 'drivers/vfio/pci/vfio_pci_dmabuf.c vfio_pci_core_feature_dma_buf()',
    device: 'ivshmem',
    since: '7.0',
    needed: ({ device }) => dmaBufExport(device),
    add: (program, t) => [
      program.syscall('close', addExport(program, t, 0n, 4096n)),
      addExport(program, t, 1n, 4096n),
      addExport(program, t, 1n << 32n, 4096n),
    ],
    answers: [0, -ERRNO.EINVAL, -ERRNO.EINVAL],
  },
];

for (const { name, title, covers, source, device, since, needed, add, answers } of CALLS) {
  test(
    `device.leak.call.${name}`,
    `${title}, again and again, costs the kernel no memory in the end`,
    { ...OPTIONS, covers, source, device, ...(since !== undefined && { since }) },
    (context) => {
      if (needed) require(needed(context));
      const program = new Program();
      const rounds = Array.from({ length: CALL_ROUNDS }, () => add(program, context));
      expectNoKernelLeak(CALL_ROUNDS, () => program.run());
      const seen = rounds.map((round) => round.map((ref) => program.result(ref)).join());
      expect([...new Set(seen)]).toEqual([answers.join()]);
    },
  );
}
