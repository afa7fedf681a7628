import { beforeEach, expect, test } from 'vitest';
import { AT_FDCWD, MAP_SHARED, O_RDWR, PROT_READ, SIGKILL } from '../abi/libc.ts';
import { VFIO_REGION_INFO_FLAG_CAPS, VFIO_REGION_INFO_FLAG_READ } from '../abi/vfio.ts';
import * as vfio from '../abi/vfio.ts';
import { Program, sys, recorder, type Data, type RecordedRun } from '../shim/index.ts';
import { decodeRuns } from './decode.ts';

let clock = 1000n;
let runs: RecordedRun[] = [];

beforeEach(() => {
  clock = 1000n;
  runs = [];
});

interface Answer {
  result?: bigint | number;
  value?: bigint;
  /** ns */
  took?: number;
  /** What the call left in the arena. */
  leaves?: [Data, Uint8Array];
  never?: 'reached' | 'ended';
}

/** Records a program as if it had run and been answered so: no device is needed. */
function answered(program: Program, answers: Answer[], where = 'here'): void {
  const arenaBefore = program.copyArena();
  const block = Buffer.alloc(program.blockSize);
  program.writeBlock(block);
  const arena = block.readUInt32LE(8);
  answers.forEach(({ result = 0, value = 0n, took = 10, leaves, never }, index) => {
    const at = 64 + 96 * index;
    if (never === 'reached') {
      block.writeBigInt64LE(-125n, at + 56);
      return;
    }
    block.writeBigInt64LE(BigInt(result), at + 56);
    block.writeBigUInt64LE(value, at + 64);
    block.writeBigUInt64LE((clock += 10n), at + 72);
    if (never !== 'ended') block.writeBigUInt64LE((clock += BigInt(took)), at + 80);
    block.writeBigUInt64LE(1n, at + 88);
    if (leaves) block.set(leaves[1], arena + leaves[0].offset);
  });
  runs.push({ run: runs.length, where, block, arenaBefore });
}

function call(
  name: Parameters<Program['syscall']>[0],
  args: (program: Program) => Parameters<Program['syscall']>[1][],
  answer: Answer = {},
): void {
  const program = new Program();
  program.syscall(name, ...args(program));
  answered(program, [answer]);
}

function open(path: string, result: number): void {
  call('openat', (program) => [AT_FDCWD, program.data(path), O_RDWR], { result });
}

function ioctl(
  fd: number,
  request: number,
  argument: Uint8Array,
  answer: Answer = {},
  after?: Uint8Array,
): void {
  const program = new Program();
  const data = program.data(argument);
  program.syscall('ioctl', fd, request, data);
  answered(program, [after ? { ...answer, leaves: [data, after] } : answer]);
}

/** A container, a group and a device, as fds 3, 4 and 5. */
function device(): void {
  open('/dev/vfio/vfio', 3);
  open('/dev/vfio/12', 4);
  call(
    'ioctl',
    (program) => [4, vfio.VFIO_GROUP_GET_DEVICE_FD.request, program.data('0000:00:04.0')],
    { result: 5 },
  );
}

function lastLine(): string {
  return decodeRuns(runs).at(-1) ?? '';
}

test('the life of a container', () => {
  device();
  call('ioctl', () => [3, vfio.VFIO_GET_API_VERSION.request, 0]);
  call('ioctl', () => [3, vfio.VFIO_CHECK_EXTENSION.request, vfio.VFIO_TYPE1v2_IOMMU], {
    result: 1,
  });
  ioctl(4, vfio.VFIO_GROUP_SET_CONTAINER.request, Uint8Array.of(3, 0, 0, 0));
  call('ioctl', () => [3, vfio.VFIO_SET_IOMMU.request, vfio.VFIO_TYPE1v2_IOMMU]);
  call('close', () => [3], { result: -9 });
  expect(decodeRuns(runs)).toEqual([
    'openat(AT_FDCWD, "/dev/vfio/vfio", O_RDWR) = 3</dev/vfio/vfio>',
    'openat(AT_FDCWD, "/dev/vfio/12", O_RDWR) = 4</dev/vfio/12>',
    'ioctl(4</dev/vfio/12>, VFIO_GROUP_GET_DEVICE_FD, "0000:00:04.0") = 5<0000:00:04.0>',
    'ioctl(3</dev/vfio/vfio>, VFIO_GET_API_VERSION) = 0',
    'ioctl(3</dev/vfio/vfio>, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) = 1',
    'ioctl(4</dev/vfio/12>, VFIO_GROUP_SET_CONTAINER, [3</dev/vfio/vfio>]) = 0',
    'ioctl(3</dev/vfio/vfio>, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) = 0',
    'close(3</dev/vfio/vfio>) = -1 EBADF (Bad file descriptor)',
  ]);
});

test('the same number is another ioctl on another fd', () => {
  device();
  const map = vfio.vfio_iommu_type1_dma_map.encode({
    flags: vfio.VFIO_DMA_MAP_FLAG_READ | vfio.VFIO_DMA_MAP_FLAG_WRITE,
    vaddr: 0x7f0000000000n,
    size: 0x1000n,
  });
  ioctl(3, vfio.VFIO_IOMMU_MAP_DMA.request, map, { result: -17 });
  expect(lastLine()).toBe(
    'ioctl(3</dev/vfio/vfio>, VFIO_IOMMU_MAP_DMA, {argsz=32, ' +
      'flags=VFIO_DMA_MAP_FLAG_READ|VFIO_DMA_MAP_FLAG_WRITE, vaddr=0x7f0000000000, iova=0x0, ' +
      'size=0x1000}) = -1 EEXIST (File exists)',
  );
  const reset = vfio.vfio_pci_hot_reset.encode({ count: 1 }, 16);
  reset.writeInt32LE(4, 12);
  ioctl(5, vfio.VFIO_DEVICE_PCI_HOT_RESET.request, reset);
  expect(lastLine()).toBe(
    'ioctl(5<0000:00:04.0>, VFIO_DEVICE_PCI_HOT_RESET, {argsz=16, flags=0, count=1, ' +
      'group_fds=[4</dev/vfio/12>]}) = 0',
  );
  ioctl(4, vfio.VFIO_IOMMU_MAP_DMA.request, map, { result: -25 });
  expect(lastLine()).toContain(
    '0x3b71 /* VFIO_DEVICE_PCI_HOT_RESET of device, VFIO_IOMMU_MAP_DMA of container */, {argsz=32, flags=VFIO_DMA',
  );
});

test('what the kernel changed, and capabilities behind the struct', () => {
  device();
  const before = vfio.vfio_region_info.encode({ index: 0 }, 64);
  const after = vfio.vfio_region_info.encode(
    {
      argsz: 64,
      flags: VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_CAPS,
      cap_offset: 32,
      size: 0x1000n,
    },
    64,
  );
  vfio.vfio_region_info_cap_sparse_mmap
    .encode({ header: { id: 1, version: 1, next: 0 }, nr_areas: 1 })
    .copy(after, 32);
  vfio.vfio_region_sparse_mmap_area.encode({ offset: 0x100n, size: 0x200n }).copy(after, 48);
  ioctl(5, vfio.VFIO_DEVICE_GET_REGION_INFO.request, before, {}, after);
  expect(lastLine()).toBe(
    'ioctl(5<0000:00:04.0>, VFIO_DEVICE_GET_REGION_INFO, {argsz=64, flags=0, ' +
      'index=VFIO_PCI_BAR0_REGION_INDEX, cap_offset=0, size=0x0, offset=0x0} => ' +
      '{flags=VFIO_REGION_INFO_FLAG_READ|VFIO_REGION_INFO_FLAG_CAPS, cap_offset=32, size=0x1000} with ' +
      'VFIO_REGION_INFO_CAP_SPARSE_MMAP {header={id=1, version=1, next=0}, nr_areas=1, ' +
      'areas=[{offset=0x100, size=0x200}]}) = 0',
  );
});

test('features name themselves and their data', () => {
  device();
  const flags = vfio.VFIO_DEVICE_FEATURE_SET | vfio.VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
  const before = Buffer.concat([
    vfio.vfio_device_feature.encode({ flags }, 16).subarray(0, 8),
    vfio.vfio_device_feature_mig_state.encode({
      device_state: vfio.VFIO_DEVICE_STATE_STOP_COPY,
      data_fd: -1,
    }),
  ]);
  const after = Buffer.from(before);
  after.writeInt32LE(9, 12);
  ioctl(5, vfio.VFIO_DEVICE_FEATURE.request, before, {}, after);
  expect(lastLine()).toContain(
    '{argsz=16, flags=VFIO_DEVICE_FEATURE_SET|VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, ' +
      'data={device_state=VFIO_DEVICE_STATE_STOP_COPY, data_fd=-1}} => {data={device_state=VFIO_DEVICE_STATE_STOP_COPY, data_fd=9}}) = 0',
  );
  // The stream is known from now on.
  ioctl(9, vfio.VFIO_MIG_GET_PRECOPY_INFO.request, vfio.vfio_precopy_info.encode(), {
    result: -22,
  });
  expect(lastLine()).toContain('ioctl(9<migration>, VFIO_MIG_GET_PRECOPY_INFO, {argsz=24');
});

/** pread of config space that gives these bytes. */
function readConfig(offset: number, bytes: Uint8Array): void {
  const program = new Program();
  const data = program.data(bytes.length);
  program.syscall('pread', 5, data, bytes.length, (7n << 40n) + BigInt(offset));
  answered(program, [{ result: bytes.length, leaves: [data, bytes] }]);
}

test('regions and registers by name', () => {
  device();
  readConfig(0, Uint8Array.of(0x86, 0x80));
  expect(lastLine()).toBe('pread(5<0000:00:04.0>, 0x8086, 2, CONFIG+PCI_VENDOR_ID) = 2');
  readConfig(0x42, Uint8Array.of(0, 0));
  expect(lastLine()).toContain('CONFIG+0x42');
  // The list of capabilities was read: from now on its registers have names.
  readConfig(0x34, Uint8Array.of(0x40));
  readConfig(0x40, Uint8Array.of(5, 0x60));
  readConfig(0x60, Uint8Array.of(0x10, 0));
  readConfig(0x42, Uint8Array.of(0, 0));
  expect(lastLine()).toContain('CONFIG+PCI_CAP_ID_MSI+0x2)');
  readConfig(0x68, Uint8Array.of(0, 0));
  expect(lastLine()).toContain('CONFIG+PCI_CAP_ID_EXP+0x8)');
  readConfig(0x100, Uint8Array.of(0x01, 0, 0x02, 0));
  readConfig(0x104, Uint8Array.of(0, 0, 0, 0));
  expect(lastLine()).toContain('CONFIG+PCI_EXT_CAP_ID_ERR+0x4)');

  call('pwrite', (program) => [5, program.data(Buffer.from([7, 0, 0, 0])), 4, (2n << 40n) + 8n], {
    result: -5,
  });
  expect(lastLine()).toBe(
    'pwrite(5<0000:00:04.0>, 0x7, 4, BAR2+0x8) = -1 EIO (Input/output error)',
  );
});

test('loads and stores: values, faults, and which BAR was meant', () => {
  device();
  call('mmap', () => [0, 0x4000, PROT_READ, MAP_SHARED, 5, 0x1000], { result: 0x7f0000000000n });
  const load = (address: bigint, answer: Answer) => {
    const program = new Program();
    program.load(32, address);
    answered(program, [answer]);
  };
  load(0x7f0000000010n, { value: 0x10n });
  expect(lastLine()).toBe('load32(0x7f0000000010<0000:00:04.0 BAR0+0x1010>) = 0 (value 0x10)');
  load(0x7f0000000010n, { result: -5 });
  expect(lastLine()).toContain('= -1 EIO (SIGBUS)');
  load(16n, { result: -14 });
  expect(lastLine()).toBe('load32(0x10) = -1 EFAULT (SIGSEGV)');
});

test('calls that never ended, were never reached, or took long', () => {
  device();
  const program = new Program().stopOnError();
  program.syscall('ioctl', 5, vfio.VFIO_DEVICE_RESET.request, 0);
  program.syscall('close', 5);
  answered(program, [{ never: 'ended' }, { never: 'reached' }]);
  expect(decodeRuns(runs).slice(-2)).toEqual([
    'ioctl(5<0000:00:04.0>, VFIO_DEVICE_RESET) = ? <unfinished ...>',
    'close(5<0000:00:04.0>) = ? <not reached>',
  ]);
  call('ioctl', () => [5, vfio.VFIO_DEVICE_RESET.request, 0], { took: 1_100_000_000 });
  expect(lastLine()).toBe('ioctl(5<0000:00:04.0>, VFIO_DEVICE_RESET) = 0 <1.100000 s>');
});

test('who made the call, and runs that were not kept', () => {
  call('eventfd2', () => [0, 0], { result: 3 });
  const program = new Program();
  program.syscall('getpid');
  answered(program, [{ result: 77 }], 'process 77');
  (runs[1] as RecordedRun).run = 5;
  expect(decodeRuns(runs)).toEqual([
    'eventfd2(0, 0) = 3<eventfd>',
    '... 4 runs were not kept ...',
    '[process 77] getpid() = 77',
  ]);
});

test('too many lines are cut in the middle', () => {
  for (let i = 0; i < 20; i++) call('getpid', () => [], { result: i });
  const lines = decodeRuns(runs, 10);
  expect(lines).toHaveLength(11);
  expect(lines[5]).toBe('... 10 calls are not shown ...');
});

test('really executed: children, their end, descriptors that are reused', () => {
  recorder.begin();
  const fd = sys.eventfd(0, 0);
  const program = new Program();
  const child = program.fork(() => {
    program.syscall('kill', program.syscall('getpid'), SIGKILL);
  });
  program.syscall('wait4', child, program.data(4), 0, 0);
  program.run();
  sys.close(fd);
  const text = decodeRuns(recorder.take()).join('\n');
  expect(text).toMatch(/^\[child \d+\] kill\(\d+, SIGKILL\) = /m);
  expect(text).toMatch(/^wait4\(\d+, \[killed by SIGKILL\], 0, NULL\) = \d+( <[\d.]+ s>)?$/m);
});
