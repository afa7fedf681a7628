import {
  MAP_SHARED,
  PROT_READ,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  VFIO_TYPE1_IOMMU,
  expect,
  ioctl,
  kernelAtLeast,
  sys,
  test,
  vfio_iommu_type1_info,
  vfio_iommu_type1_info_cap_iova_range,
  vfio_iommu_type1_info_cap_migration,
  vfio_iommu_type1_info_dma_avail,
  type Container,
  type InfoCapability,
} from '../../harness/testing/index.ts';

const GET_INFO = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_get_info()';
const INFO_SIZE = vfio_iommu_type1_info.size;
/** Up to `iova_pgsizes`: what the first version of the structure had. */
const OLD_SIZE = vfio_iommu_type1_info.offsetof('cap_offset');
const FILL = 0xa5;

/** Bytes that GET_INFO asks for. */
function wanted(container: Container): number {
  return vfio_iommu_type1_info.decode(container.tryGetInfo(INFO_SIZE).get()).argsz;
}

/** GET_INFO into `argsz` bytes with known content, more of it behind them. */
function filled(container: Container, argsz: number): Buffer {
  const buffer = Buffer.alloc(4096, FILL);
  buffer.writeUInt32LE(argsz, 0);
  expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, buffer)).toSucceed(0);
  return buffer;
}

const isFill = (bytes: Buffer) => bytes.every((byte) => byte === FILL);

function capability(container: Container, id: number): InfoCapability {
  const found = container.getInfo().capabilities.filter((cap) => cap.id === id);
  expect(found).toHaveLength(1);
  return found[0]!;
}

test(
  'container.get-info.argsz.short',
  'an argsz below the first version of the structure is refused',
  { covers: [VFIO_IOMMU_GET_INFO.fails('EINVAL')], source: GET_INFO },
  ({ container }) => {
    for (const argsz of [0, 1, 4, 8, OLD_SIZE - 1]) {
      expect(container.tryGetInfo(argsz)).toFailWith('EINVAL');
    }
    expect(container.tryGetInfo(OLD_SIZE)).toSucceed(0);
  },
);

test(
  'container.get-info.argsz.old',
  'a user of the first version gets flags and page sizes, the size for more, and no byte too many',
  { covers: [VFIO_IOMMU_GET_INFO], source: GET_INFO },
  ({ container }) => {
    const size = wanted(container);
    const info = filled(container, OLD_SIZE);
    const { argsz, flags, iova_pgsizes } = vfio_iommu_type1_info.decode(info);
    expect(argsz).toBe(size);
    expect(flags).toBe(VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
    expect(iova_pgsizes).toBe(container.getInfo().iova_pgsizes);
    expect(isFill(info.subarray(OLD_SIZE))).toBe(true);
  },
);

test(
  'container.get-info.argsz.fixed-part',
  'with room for the fixed part only, cap_offset is 0 and argsz says what is needed',
  { covers: [VFIO_IOMMU_GET_INFO.flag('VFIO_IOMMU_INFO_CAPS')], source: GET_INFO, peer: ['L7'] },
  ({ container }) => {
    const info = filled(container, INFO_SIZE);
    const { argsz, flags, cap_offset } = vfio_iommu_type1_info.decode(info);
    expect(argsz).toBeGreaterThan(INFO_SIZE);
    expect(flags).toBe(VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
    expect(cap_offset).toBe(0);
    expect(isFill(info.subarray(INFO_SIZE))).toBe(true);
  },
);

test(
  'container.get-info.argsz.one-short',
  'one byte too few for the capabilities gives none of them',
  { covers: [VFIO_IOMMU_GET_INFO], source: GET_INFO },
  ({ container }) => {
    const size = wanted(container);
    const info = filled(container, size - 1);
    const { argsz, cap_offset } = vfio_iommu_type1_info.decode(info);
    expect(argsz).toBe(size);
    expect(cap_offset).toBe(0);
    expect(isFill(info.subarray(INFO_SIZE))).toBe(true);
  },
);

test(
  'container.get-info.argsz.exact',
  'with exactly the room asked for, all capabilities arrive and nothing behind them is touched',
  { covers: [VFIO_IOMMU_GET_INFO], source: GET_INFO, peer: ['L7'] },
  ({ container }) => {
    const size = wanted(container);
    for (const argsz of [size, size + 1, 2048]) {
      const info = filled(container, argsz);
      const decoded = vfio_iommu_type1_info.decode(info);
      expect(decoded.argsz).toBe(argsz);
      expect(decoded.cap_offset).toBe(INFO_SIZE);
      expect(isFill(info.subarray(INFO_SIZE, INFO_SIZE + 8))).toBe(false);
      expect(isFill(info.subarray(size))).toBe(true);
    }
  },
);

test(
  'container.get-info.padding',
  'the padding behind cap_offset is zero',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: 'include/uapi/linux/vfio.h vfio_iommu_type1_info.pad',
    since: '6.6',
  },
  ({ container }) => {
    expect(vfio_iommu_type1_info.decode(filled(container, INFO_SIZE)).pad).toBe(0);
    expect(vfio_iommu_type1_info.decode(filled(container, wanted(container))).pad).toBe(0);
  },
);

test(
  'container.get-info.stable',
  'the same question has the same answer, on v1 and v2',
  { covers: [VFIO_IOMMU_GET_INFO], source: GET_INFO },
  ({ emptyContainer, openGroup }) => {
    const answers = [VFIO_TYPE1_IOMMU, 3].map((type) => {
      const container = emptyContainer();
      openGroup().setContainer(container);
      container.setIommu(type);
      const first = container.getInfo().bytes;
      expect(container.getInfo().bytes.equals(first)).toBe(true);
      openGroup().unsetContainer();
      return first;
    });
    expect(answers[1]!.equals(answers[0]!)).toBe(true);
  },
);

test(
  'container.get-info.bad-pointer',
  'an argument that cannot be read or written is answered with EFAULT',
  { covers: [VFIO_IOMMU_GET_INFO.fails('EFAULT')], source: GET_INFO },
  ({ container, memory, defer }) => {
    expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, 0n)).toFailWith('EFAULT');
    const argument = memory({ size: 4096, kind: 'memfd' });
    const readOnly = sys.mmap(0n, 4096, PROT_READ, MAP_SHARED, argument.fd, 0);
    defer(() => void sys.munmap(readOnly, 4096));
    // Once without and once with room for the capabilities: they are written by different lines.
    for (const argsz of [INFO_SIZE, 2048]) {
      const request = Buffer.alloc(4);
      request.writeUInt32LE(argsz);
      argument.write(0, request);
      expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, readOnly)).toFailWith('EFAULT');
    }
    expect(container.tryGetInfo(INFO_SIZE)).toSucceed(0);
  },
);

test(
  'container.get-info.capabilities-past-the-end',
  'capabilities that do not fit into the memory behind argsz are answered with EFAULT',
  { covers: [VFIO_IOMMU_GET_INFO.fails('EFAULT')], source: GET_INFO },
  ({ container, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    sys.munmap(ram.address + 4096n, 4096);
    const at = 4096 - INFO_SIZE;
    const request = Buffer.alloc(4);
    request.writeUInt32LE(2048);
    ram.write(at, request);
    const address = ram.address + BigInt(at);
    expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, address)).toFailWith('EFAULT');
  },
);

test(
  'container.get-info.page-sizes',
  'the page sizes include that of the processor and none below it',
  {
    covers: [VFIO_IOMMU_GET_INFO.flag('VFIO_IOMMU_INFO_PGSIZES')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_update_pgsize_bitmap()',
  },
  ({ container }) => {
    const { flags, iova_pgsizes } = container.getInfo();
    expect(flags & VFIO_IOMMU_INFO_PGSIZES).toBe(VFIO_IOMMU_INFO_PGSIZES);
    expect(iova_pgsizes & 0xfffn).toBe(0n);
    expect(iova_pgsizes & 0x1000n).toBe(0x1000n);
  },
);

test(
  'container.get-info.page-sizes.groups',
  'the page sizes of a container do not change when an equal group comes or goes',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_update_pgsize_bitmap()',
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, openGroup }) => {
    const before = container.getInfo().bytes;
    openGroup('edu-rp').setContainer(container);
    expect(container.getInfo().bytes.equals(before)).toBe(true);
    openGroup('edu-rp').unsetContainer();
    expect(container.getInfo().bytes.equals(before)).toBe(true);
  },
);

test(
  'container.get-info.chain',
  'the capability chain holds each capability once, in bounds, in order and without a cycle',
  { covers: [VFIO_IOMMU_GET_INFO], source: GET_INFO, peer: ['L7'] },
  ({ container }) => {
    const { capabilities, cap_offset, argsz } = container.getInfo();
    expect(cap_offset).toBe(INFO_SIZE);
    expect(capabilities.map(({ id }) => id).sort()).toEqual([
      VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
      VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION,
      VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
    ]);
    expect(capabilities.map(({ version }) => version)).toEqual([1, 1, 1]);
    const offsets = capabilities.map(({ offset }) => offset);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    expect(capabilities.at(-1)!.next).toBe(0);
    if (kernelAtLeast('6.6')) expect(offsets.every((offset) => offset % 8 === 0)).toBe(true);
    // Nothing but capabilities: each begins where the one before ends.
    const sizes: Record<number, number> = {
      [VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE]: 16 + 16 * container.iovaRanges().length,
      [VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION]: vfio_iommu_type1_info_cap_migration.size,
      [VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL]: vfio_iommu_type1_info_dma_avail.size,
    };
    const align = kernelAtLeast('6.6') ? 8 : 4;
    let end = INFO_SIZE;
    for (const { id, offset } of capabilities) {
      expect(offset).toBe(end);
      end += Math.ceil(sizes[id]! / align) * align;
    }
    expect(argsz).toBe(end);
  },
);

test(
  'container.get-info.migration',
  'the migration capability offers the smallest page size and bitmaps for 2^31 pages',
  {
    covers: [VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_migration_build_caps()',
  },
  ({ container }) => {
    const { bytes } = capability(container, VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION);
    const migration = vfio_iommu_type1_info_cap_migration.decode(bytes);
    const { iova_pgsizes } = container.getInfo();
    expect(migration.flags).toBe(0);
    expect(migration.pgsize_bitmap).toBe(iova_pgsizes & -iova_pgsizes);
    expect(migration.max_dirty_bitmap_size).toBe(256n * 1024n * 1024n);
  },
);

test(
  'container.get-info.no-leak',
  'no byte of the capabilities holds what the kernel had there before',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: [GET_INFO, 'drivers/vfio/vfio_main.c vfio_info_cap_add()'],
    fixes: ['information leak in VFIO_IOMMU_GET_INFO capabilities'],
  },
  ({ container }) => {
    const info = filled(container, wanted(container));
    const padding: Record<number, [from: number, to: number][]> = {
      [VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE]: [[12, 16]],
      [VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION]: [[12, 16]],
      [VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL]: kernelAtLeast('6.6') ? [[12, 16]] : [],
    };
    for (const { id, offset } of container.getInfo().capabilities) {
      for (const [from, to] of padding[id]!) {
        const bytes = info.subarray(offset + from, offset + to);
        expect(bytes.toString('hex')).toBe('00'.repeat(to - from));
      }
    }
  },
);

test(
  'container.get-info.iova-range-size',
  'the IOVA range capability is as long as its number of ranges says',
  {
    covers: [VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_iova_build_caps()',
  },
  ({ container }) => {
    const { bytes, next } = capability(container, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
    const { nr_iovas, reserved } = vfio_iommu_type1_info_cap_iova_range.decode(bytes);
    expect(nr_iovas).toBeGreaterThan(0);
    expect(reserved).toBe(0);
    expect(next).toBe(0);
    expect(bytes.length).toBe(vfio_iommu_type1_info_cap_iova_range.tailOffset + 16 * nr_iovas);
  },
);
