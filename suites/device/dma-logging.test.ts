import {
  MTTY,
  Program,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  expect,
  mediated,
  openMediated,
  test,
  vfio_device_feature_dma_logging_control,
  vfio_device_feature_dma_logging_range,
  vfio_device_feature_dma_logging_report,
  type Device,
  type DmaMemory,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const START = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_START;
const STOP = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP;
const REPORT = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT;
const needs = [mediated(MTTY)];
const startOptions = {
  source: 'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_logging_start()',
  needs,
};
const STARTS = VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_LOGGING_START');
/** As many ranges as fit into a page. */
const MOST_RANGES = 256;

interface Range {
  iova: bigint;
  length: bigint;
}

/** DMA_LOGGING_START over these ranges, which are put into `memory`. */
function tryStart(
  device: Device,
  memory: DmaMemory,
  ranges: readonly Range[],
  { page_size = PAGE, address = memory.address, argsz = undefined as number | undefined } = {},
) {
  const list = ranges.map((range) => vfio_device_feature_dma_logging_range.encode(range));
  if (list.length > 0) memory.write(0, Buffer.concat(list));
  const control = vfio_device_feature_dma_logging_control.encode({
    page_size,
    num_ranges: ranges.length,
    __reserved: 0,
    ranges: address,
  });
  return device.tryFeature(START, control, argsz);
}

/** Ranges of one page each, `gap` apart. */
const apart = (count: number, gap: bigint): Range[] =>
  Array.from({ length: count }, (_, index) => ({ iova: BigInt(index) * gap, length: PAGE }));

test(
  'device.dma-logging.start',
  'DMA logging starts over any set of ranges that do not overlap, in any order, and stops',
  {
    ...startOptions,
    covers: [STARTS, VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP')],
  },
  (context) => {
    const device = openMediated(context, MTTY);
    const memory = context.memory({ size: 3 * 4096, kind: '4k' });
    const top = { iova: (1n << 64n) - 2n * PAGE, length: PAGE };
    for (const ranges of [
      [{ iova: 0n, length: PAGE }],
      [top],
      [top, { iova: 0n, length: 1n << 40n }],
      // They may touch.
      apart(MOST_RANGES, PAGE).reverse(),
    ]) {
      expect(tryStart(device, memory, ranges)).toSucceed(0);
      expect(device.tryFeature(STOP)).toSucceed(0);
    }
  },
);

test(
  'device.dma-logging.ranges',
  'ranges that overlap, are not aligned or pass the end of the address space are refused',
  {
    ...startOptions,
    covers: [VFIO_DEVICE_FEATURE.fails('EINVAL'), VFIO_DEVICE_FEATURE.fails('EOVERFLOW')],
  },
  (context) => {
    const device = openMediated(context, MTTY);
    const memory = context.memory({ size: 4096, kind: '4k' });
    const good = { iova: 16n * PAGE, length: 4n * PAGE };
    for (const bad of [
      good,
      { iova: 19n * PAGE, length: PAGE },
      { iova: 15n * PAGE, length: 2n * PAGE },
      { iova: 0n, length: 64n * PAGE },
      { iova: 512n, length: PAGE },
      { iova: 0n, length: PAGE + 512n },
    ]) {
      expect(tryStart(device, memory, [good, bad]), `${bad.iova}`).toFailWith('EINVAL');
    }
    const wraps = { iova: (1n << 64n) - PAGE, length: 2n * PAGE };
    expect(tryStart(device, memory, [good, wraps])).toFailWith('EOVERFLOW');
    const coarse = { page_size: 0x20_0000n };
    expect(tryStart(device, memory, [good], coarse)).toFailWith('EINVAL');
    expect(tryStart(device, memory, [{ iova: 0n, length: 0x20_0000n }], coarse)).toSucceed(0);
  },
);

test(
  'device.dma-logging.number-of-ranges',
  'at least one range is needed, and more than fit into a page are refused',
  {
    ...startOptions,
    covers: [VFIO_DEVICE_FEATURE.fails('EINVAL'), VFIO_DEVICE_FEATURE.fails('E2BIG')],
  },
  (context) => {
    const device = openMediated(context, MTTY);
    const memory = context.memory({ size: 3 * 4096, kind: '4k' });
    expect(tryStart(device, memory, [])).toFailWith('EINVAL');
    expect(tryStart(device, memory, apart(MOST_RANGES, 2n * PAGE))).toSucceed(0);
    expect(tryStart(device, memory, apart(MOST_RANGES + 1, 2n * PAGE))).toFailWith('E2BIG');
  },
);

test(
  'device.dma-logging.bad-pointer',
  'ranges that cannot be read are answered with EFAULT, a structure that is too short with EINVAL',
  {
    ...startOptions,
    covers: [VFIO_DEVICE_FEATURE.fails('EINVAL'), VFIO_DEVICE_FEATURE.fails('EFAULT')],
  },
  (context) => {
    const device = openMediated(context, MTTY);
    const memory = context.memory({ size: 4096, kind: '4k' });
    const range = [{ iova: 0n, length: PAGE }];
    expect(tryStart(device, memory, range, { address: 8n })).toFailWith('EFAULT');
    const { size } = vfio_device_feature_dma_logging_control;
    expect(tryStart(device, memory, range, { argsz: 8 + size - 1 })).toFailWith('EINVAL');
  },
);

/** DMA_LOGGING_REPORT into a bitmap of one page, filled with a pattern. */
function tryReport(device: Device, range: Range, pageSize: bigint) {
  const program = new Program();
  const bitmap = program.data(Buffer.alloc(4096, 0x11));
  const report = vfio_device_feature_dma_logging_report;
  const argument = program.data(
    Buffer.concat([Buffer.alloc(8), report.encode({ ...range, page_size: pageSize, bitmap: 0n })]),
  );
  argument.bytes.writeUInt32LE(argument.length, 0);
  argument.bytes.writeUInt32LE(REPORT, 4);
  program.store(64, argument.at(8 + report.offsetof('bitmap')), bitmap);
  const ref = program.syscall('ioctl', device.fd, VFIO_DEVICE_FEATURE.request, argument);
  program.run();
  return { result: program.result(ref), untouched: bitmap.bytes.every((byte) => byte === 0x11) };
}

test(
  'device.dma-logging.report',
  'a report needs a page size that is a power of two of at least 4 KiB and a range that does not wrap',
  {
    covers: [
      VFIO_DEVICE_FEATURE.value('VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT'),
      VFIO_DEVICE_FEATURE.fails('EINVAL'),
      VFIO_DEVICE_FEATURE.fails('EOVERFLOW'),
    ],
    source: 'drivers/vfio/vfio_main.c vfio_ioctl_device_feature_logging_report()',
    needs,
  },
  (context) => {
    const device = openMediated(context, MTTY);
    const memory = context.memory({ size: 4096, kind: '4k' });
    const range = { iova: 0n, length: 512n * PAGE };
    expect(tryStart(device, memory, [range])).toSucceed(0);
    // The serial port writes no memory: nothing is dirty, and bits are never cleared.
    for (const pageSize of [PAGE, 2n * PAGE, 0x20_0000n]) {
      expect(tryReport(device, range, pageSize)).toEqual({ result: 0, untouched: true });
    }
    for (const pageSize of [0n, 1n, 2048n, PAGE - 1n, PAGE + 1n, 3n * PAGE]) {
      expect(tryReport(device, range, pageSize).result, `${pageSize}`).toBe(-22);
    }
    const wraps = { iova: (1n << 64n) - PAGE, length: 2n * PAGE };
    expect(tryReport(device, wraps, PAGE).result).toBe(-75);
    expect(device.tryFeature(STOP)).toSucceed(0);
  },
);

test(
  'device.dma-logging.feature-rules',
  'logging is started and stopped by SET, reported by GET, and each can be probed',
  {
    covers: [VFIO_DEVICE_FEATURE.fails('EINVAL')],
    source: 'include/linux/vfio.h vfio_check_feature()',
    needs,
  },
  (context) => {
    const device = openMediated(context, MTTY);
    const other = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
    for (const flags of [START, STOP, REPORT]) {
      expect(device.tryFeature(flags | VFIO_DEVICE_FEATURE_PROBE)).toSucceed(0);
      const wrong = (flags ^ other) >>> 0;
      expect(device.tryFeature(wrong | VFIO_DEVICE_FEATURE_PROBE)).toFailWith('EINVAL');
      expect(device.tryFeature(wrong, Buffer.alloc(64))).toFailWith('EINVAL');
    }
    expect(device.tryFeature(REPORT, Buffer.alloc(31))).toFailWith('EINVAL');
  },
);
