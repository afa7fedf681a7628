import {
  MAP_SHARED,
  PROT_READ,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_INFO_CAPS,
  VFIO_IOMMU_INFO_PGSIZES,
  VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE,
  VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL,
  expect,
  ioctl,
  sys,
  test,
  vfio_iommu_type1_info,
} from '../../../harness/testing/index.ts';
import { INFO_SIZE, UNTOUCHED, filled, isUntouched, wanted } from '../get-info-calls.ts';
import { AS_CONTAINER, asContainer, emptyIommufd, intoType1 } from './as-container.ts';

const GET_INFO = 'drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_iommu_get_info()';
const FLAGS = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
const OLD_SIZE = vfio_iommu_type1_info.offsetof('cap_offset');
/** Of the first capability, DMA_AVAIL. */
const FIRST_SIZE = 16;

test(
  'container.iommufd.get-info.argsz',
  'an argsz below the first version of the structure is refused, and nothing is written behind it',
  {
    covers: [VFIO_IOMMU_GET_INFO.fails('EINVAL')],
    source: GET_INFO,
    ...AS_CONTAINER,
  },
  (context) => {
    const { container } = asContainer(context);
    for (const argsz of [0, 4, OLD_SIZE - 1])
      expect(container.tryGetInfo(argsz)).toFailWith('EINVAL');
    const size = wanted(container);
    for (const argsz of [OLD_SIZE, INFO_SIZE, INFO_SIZE + 8, INFO_SIZE + FIRST_SIZE, size - 1]) {
      const info = filled(container, argsz);
      const { argsz: told, flags } = vfio_iommu_type1_info.decode(info);
      expect(told).toBe(size);
      expect(flags).toBe(FLAGS);
      if (argsz >= INFO_SIZE) expect(vfio_iommu_type1_info.decode(info).cap_offset).toBe(0);
      expect(isUntouched(info.subarray(argsz)), `behind ${argsz} bytes`).toBe(true);
    }
    // Unlike type1 it also lowers argsz, which the rule for all answers does not know.
    const all = Buffer.alloc(size + 64, UNTOUCHED);
    all.writeUInt32LE(all.length);
    expect(sys.ioctl(container.fd, VFIO_IOMMU_GET_INFO.request, all)).toBe(0);
    expect(vfio_iommu_type1_info.decode(all)).toMatchObject({
      argsz: size,
      flags: FLAGS,
      cap_offset: INFO_SIZE,
    });
    expect(isUntouched(all.subarray(size))).toBe(true);
  },
);

test(
  'container.iommufd.get-info.bad-pointer',
  'GET_INFO refuses memory that it cannot read, and such that it cannot write',
  { covers: [VFIO_IOMMU_GET_INFO.fails('EFAULT')], source: GET_INFO, ...AS_CONTAINER },
  (context) => {
    const { container } = asContainer(context);
    expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, 8n)).toFailWith('EFAULT');
    const argument = context.memory({ size: 4096, kind: 'memfd' });
    const readOnly = sys.mmap(0n, 4096, PROT_READ, MAP_SHARED, argument.fd, 0);
    context.defer(() => void sys.munmap(readOnly, 4096));
    // The structure, a capability, and the link between capabilities are written by different lines.
    for (const argsz of [OLD_SIZE, INFO_SIZE, INFO_SIZE + FIRST_SIZE, wanted(container)]) {
      const request = Buffer.alloc(4);
      request.writeUInt32LE(argsz);
      argument.write(0, request);
      expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, readOnly)).toFailWith('EFAULT');
    }
  },
);

test(
  'container.iommufd.get-info.capabilities-past-the-end',
  'capabilities that do not fit into the memory behind argsz are answered with EFAULT, whichever it is',
  { covers: [VFIO_IOMMU_GET_INFO.fails('EFAULT')], source: GET_INFO, ...AS_CONTAINER },
  (context) => {
    const { container } = asContainer(context);
    const ram = context.memory({ size: 2 * 4096, kind: '4k' });
    sys.munmap(ram.address + 4096n, 4096);
    const request = Buffer.alloc(4);
    request.writeUInt32LE(wanted(container));
    // There is memory for the structure, for DMA_AVAIL too, and for the header of the ranges.
    for (const size of [INFO_SIZE, INFO_SIZE + FIRST_SIZE, INFO_SIZE + 2 * FIRST_SIZE]) {
      ram.write(4096 - size, request);
      const address = ram.address + BigInt(4096 - size);
      expect(ioctl(container.fd, VFIO_IOMMU_GET_INFO, address), `${size} bytes`).toFailWith(
        'EFAULT',
      );
    }
  },
);

test(
  'container.iommufd.get-info.without-device',
  'before a device is opened every page size and IOVA will do',
  { covers: [VFIO_IOMMU_GET_INFO.fails('ENODEV')], source: GET_INFO, ...AS_CONTAINER },
  (context) => {
    const { io, container } = emptyIommufd(context);
    expect(container.tryGetInfo(INFO_SIZE)).toFailWith('ENODEV');
    expect(context.openGroup().trySetContainer(io.fd)).toSucceed(0);
    expect(container.getInfo().iova_pgsizes).toBe((1n << 64n) - 4096n);
    expect(container.iovaRanges()).toEqual([{ start: 0n, end: (1n << 64n) - 1n }]);
  },
);

test(
  'container.iommufd.get-info.as-type1',
  'page sizes and IOVA ranges of a device are those that a container tells of it',
  {
    covers: [
      VFIO_IOMMU_GET_INFO.flag('VFIO_IOMMU_INFO_PGSIZES'),
      VFIO_IOMMU_GET_INFO.flag('VFIO_IOMMU_INFO_CAPS'),
    ],
    source: [
      'drivers/iommu/iommufd/vfio_compat.c iommufd_get_pagesizes()',
      'drivers/iommu/iommufd/vfio_compat.c iommufd_fill_cap_iova()',
    ],
    ...AS_CONTAINER,
  },
  (context) => {
    const inside = asContainer(context);
    const { iova_pgsizes, capabilities } = inside.container.getInfo();
    expect(capabilities.map(({ id, version }) => ({ id, version }))).toEqual([
      { id: VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, version: 1 },
      { id: VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, version: 1 },
    ]);
    const ranges = inside.container.iovaRanges();
    const type1 = intoType1(context, inside);
    expect(iova_pgsizes).toBe(type1.getInfo().iova_pgsizes);
    expect(ranges).toEqual(type1.iovaRanges());
  },
);

test(
  'container.iommufd.get-info.dma-avail',
  'the number of mappings is limited by memory only: DMA_AVAIL says 2^32 - 1, whatever is mapped',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: 'drivers/iommu/iommufd/vfio_compat.c iommufd_fill_cap_dma_avail()',
    ...AS_CONTAINER,
  },
  (context) => {
    const { container } = asContainer(context);
    expect(container.dmaAvail()).toBe(0xffff_ffff);
    const ram = context.memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: ram.address, size: 4096n });
    expect(container.dmaAvail()).toBe(0xffff_ffff);
  },
);
