import {
  INTEL_IOMMU,
  MAP_SHARED,
  PROT_READ,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_TYPE1_IOMMU,
  expect,
  ioctl,
  sys,
  test,
  vfio_iommu_type1_info,
} from '../../harness/testing/index.ts';
import { INFO_SIZE, filled, isUntouched, wanted } from './get-info-calls.ts';

const GET_INFO = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_get_info()';

/** Up to `iova_pgsizes`: what the first version of the structure had. */
const OLD_SIZE = vfio_iommu_type1_info.offsetof('cap_offset');

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
    expect(isUntouched(info.subarray(OLD_SIZE))).toBe(true);
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
    expect(isUntouched(info.subarray(INFO_SIZE))).toBe(true);
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
    expect(isUntouched(info.subarray(INFO_SIZE))).toBe(true);
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
      expect(isUntouched(info.subarray(INFO_SIZE, INFO_SIZE + 8))).toBe(false);
      expect(isUntouched(info.subarray(size))).toBe(true);
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
  'container.get-info.page-sizes.intel',
  'behind an Intel IOMMU the page sizes are those that its tables have: 4 KiB, 2 MiB and 1 GiB',
  {
    covers: [VFIO_IOMMU_GET_INFO.flag('VFIO_IOMMU_INFO_PGSIZES')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_update_pgsize_bitmap()',
    needs: [INTEL_IOMMU],
  },
  ({ container }) => {
    const { iova_pgsizes } = container.getInfo();
    expect(iova_pgsizes & ~(0x1000n | 0x20_0000n | 0x4000_0000n)).toBe(0n);
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
