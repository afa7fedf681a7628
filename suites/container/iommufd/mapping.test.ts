import {
  Edu,
  IOMMU_FAULT,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  enableDevice,
  expect,
  ioctl,
  test,
  vfio_iommu_type1_dma_map,
  vfio_iommu_type1_dma_unmap,
} from '../../../harness/testing/index.ts';
import { AS_CONTAINER, asContainer, emptyIommufd } from './as-container.ts';

const P = 4096n;
const BASE = 0x100000n;
const MAP = 'drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_map_dma()';
const UNMAP = 'drivers/iommu/iommufd/vfio_compat.c iommufd_vfio_unmap_dma()';
const AREAS = 'drivers/iommu/iommufd/io_pagetable.c';

test(
  'container.iommufd.map.arguments',
  'MAP_DMA through an iommufd checks argsz, flags and the pointer',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL'), VFIO_IOMMU_MAP_DMA.fails('EFAULT')],
    source: MAP,
    ...AS_CONTAINER,
  },
  (context) => {
    const { container } = asContainer(context);
    const ram = context.memory({ size: 4096, kind: '4k' });
    const map = { iova: BASE, vaddr: ram.address, size: P };
    const { size } = vfio_iommu_type1_dma_map;
    for (const argsz of [0, 4, size - 1])
      expect(container.tryMapDma({ ...map, argsz })).toFailWith('EINVAL');
    for (const flag of [VFIO_DMA_MAP_FLAG_VADDR, 8, 1 << 31])
      expect(
        container.tryMapDma({ ...map, flags: (VFIO_DMA_MAP_FLAG_READ | flag) >>> 0 }),
      ).toFailWith('EINVAL');
    expect(ioctl(container.fd, VFIO_IOMMU_MAP_DMA, 8n)).toFailWith('EFAULT');
    expect(container.unmapDma({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL })).toBe(0n);
    expect(container.tryMapDma({ ...map, argsz: size + 8 })).toSucceed(0);
    expect(container.unmapDma({ iova: BASE, size: P })).toBe(P);
  },
);

test(
  'container.iommufd.map.range',
  'MAP_DMA through an iommufd refuses what is empty, not of whole pages, reserved, at the end, or mapped',
  {
    covers: [
      VFIO_IOMMU_MAP_DMA.fails('EINVAL'),
      VFIO_IOMMU_MAP_DMA.fails('EOVERFLOW'),
      VFIO_IOMMU_MAP_DMA.fails('EEXIST'),
      VFIO_IOMMU_MAP_DMA.fails('EFAULT'),
    ],
    source: [`${AREAS} iopt_check_iova()`, `${AREAS} iopt_alloc_area_pages()`],
    ...AS_CONTAINER,
  },
  (context) => {
    const { container } = asContainer(context);
    const ram = context.memory({ size: 2 * 4096, kind: '4k' });
    const map = { iova: BASE, vaddr: ram.address, size: P };
    expect(container.tryMapDma({ ...map, size: 0n })).toFailWith('EINVAL');
    expect(container.tryMapDma({ ...map, size: P + 1n })).toFailWith('EINVAL');
    expect(container.tryMapDma({ ...map, iova: BASE + 1n })).toFailWith('EINVAL');
    expect(container.tryMapDma({ ...map, vaddr: ram.address + 1n })).toFailWith('EINVAL');
    expect(container.tryMapDma({ ...map, iova: (1n << 64n) - P, size: 2n * P })).toFailWith(
      'EOVERFLOW',
    );
    expect(container.tryMapDma({ ...map, vaddr: (1n << 64n) - P, size: 2n * P })).toFailWith(
      'EOVERFLOW',
    );
    expect(container.tryMapDma({ ...map, vaddr: P })).toFailWith('EFAULT');
    const ranges = container.iovaRanges();
    for (const { start, end } of ranges) {
      if (start > 0n) expect(container.tryMapDma({ ...map, iova: start - P })).toFailWith('EINVAL');
      expect(container.tryMapDma({ ...map, iova: end + 1n })).toFailWith('EINVAL');
      expect(container.tryMapDma({ ...map, iova: end + 1n - P })).toSucceed(0);
    }
    expect(container.tryMapDma(map)).toSucceed(0);
    expect(container.tryMapDma(map)).toFailWith('EEXIST');
    expect(container.tryMapDma({ ...map, iova: BASE - P, size: 2n * P })).toFailWith('EEXIST');
    expect(container.tryMapDma({ ...map, iova: BASE + P })).toSucceed(0);
    const all = container.unmapDma({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL });
    expect(all).toBe(P * BigInt(2 + ranges.length));
  },
);

test(
  'container.iommufd.map.device-memory',
  'a BAR that the process has mapped cannot be mapped by its address through an iommufd',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')],
    source: ['drivers/iommu/iommufd/pages.c pfn_reader_user_pin()', 'mm/gup.c check_vma_flags()'],
    ...AS_CONTAINER,
    peer: ['S19', 'S20', 'S21'],
  },
  (context) => {
    const { container, device } = asContainer(context);
    enableDevice(device);
    const bar = context.map(device.region(0));
    const map = { iova: BASE, vaddr: bar.address, size: bar.size };
    expect(container.tryMapDma(map)).toFailWith('EFAULT');
    expect(container.tryMapDma({ ...map, size: P })).toFailWith('EFAULT');
    expect(container.unmapDma({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL })).toBe(0n);
  },
);

test(
  'container.iommufd.map.permissions',
  'through an iommufd too a device writes only where WRITE was given',
  {
    covers: [
      VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_READ'),
      VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_WRITE'),
    ],
    source: MAP,
    ...AS_CONTAINER,
    provokes: [IOMMU_FAULT],
  },
  (context) => {
    const { container, device } = asContainer(context);
    const edu = new Edu(device);
    const source = context.memory({ size: 4096, kind: '4k' });
    const target = context.memory({ size: 4096, kind: '4k' });
    const both = context.memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: source.address, size: P, flags: VFIO_DMA_MAP_FLAG_READ });
    container.mapDma({ iova: P, vaddr: target.address, size: P, flags: VFIO_DMA_MAP_FLAG_WRITE });
    container.mapDma({ iova: 2n * P, vaddr: both.address, size: P });
    source.fill(1);
    edu.readMemory(0n, 4096);
    edu.writeMemory(P, 4096);
    edu.writeMemory(2n * P, 4096);
    expect(target.verify(1)).toBe(-1);
    expect(both.verify(1)).toBe(-1);
    both.fill(2);
    edu.readMemory(2n * P, 4096);
    edu.writeMemory(0n, 4096);
    expect(source.verify(1)).toBe(-1);
    edu.unmap();
  },
);

test(
  'container.iommufd.map.before-device',
  'what is mapped before a device is opened is there for it, and gone for it when it is unmapped',
  {
    covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
    source: [MAP, 'drivers/vfio/iommufd.c vfio_iommufd_compat_attach_ioas()'],
    ...AS_CONTAINER,
    provokes: [IOMMU_FAULT],
  },
  (context) => {
    const { container } = emptyIommufd(context);
    const ram = context.memory({ size: 8192, kind: '4k' });
    const map = { iova: 0n, vaddr: ram.address, size: 2n * P };
    expect(container.tryMapDma(map)).toFailWith('ENODEV');
    expect(container.tryUnmapDma({ iova: 0n, size: P })).toFailWith('ENODEV');
    const group = context.openGroup();
    group.setContainer(container);
    container.mapDma(map);
    const edu = new Edu(context.openDevice(group));
    ram.fill(3, 0, 4096);
    edu.readMemory(0n, 4096);
    edu.writeMemory(P, 4096);
    expect(ram.verify(3, 4096, 4096)).toBe(-1);
    expect(container.unmapDma({ iova: 0n, size: 2n * P })).toBe(2n * P);
    ram.fill(4);
    edu.writeMemory(P, 4096);
    expect(ram.verify(4)).toBe(-1);
    edu.unmap();
  },
);

test(
  'container.iommufd.unmap.arguments',
  'UNMAP_DMA through an iommufd checks argsz, flags, the range and the pointer',
  {
    covers: [
      VFIO_IOMMU_UNMAP_DMA.fails('EINVAL'),
      VFIO_IOMMU_UNMAP_DMA.fails('EFAULT'),
      VFIO_IOMMU_UNMAP_DMA.fails('EOVERFLOW'),
    ],
    source: [UNMAP, `${AREAS} iopt_unmap_iova()`],
    ...AS_CONTAINER,
  },
  (context) => {
    const { container } = asContainer(context);
    const ram = context.memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P });
    const unmap = { iova: BASE, size: P };
    for (const argsz of [0, 4, vfio_iommu_type1_dma_unmap.size - 1])
      expect(container.tryUnmapDma({ ...unmap, argsz })).toFailWith('EINVAL');
    for (const flags of [
      VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
      VFIO_DMA_UNMAP_FLAG_VADDR,
      8,
      0x80000000,
    ])
      expect(container.tryUnmapDma({ ...unmap, flags })).toFailWith('EINVAL');
    expect(container.tryUnmapDma({ ...unmap, size: 0n })).toFailWith('EINVAL');
    expect(container.tryUnmapDma({ iova: (1n << 64n) - P, size: 2n * P })).toFailWith('EOVERFLOW');
    for (const range of [
      { iova: BASE, size: 0n },
      { iova: 0n, size: P },
    ])
      expect(container.tryUnmapDma({ ...range, flags: VFIO_DMA_UNMAP_FLAG_ALL })).toFailWith(
        'EINVAL',
      );
    expect(ioctl(container.fd, VFIO_IOMMU_UNMAP_DMA, 8n)).toFailWith('EFAULT');
    expect(container.unmapDma({ iova: 0n, size: BASE })).toBe(0n);
    expect(container.unmapDma(unmap)).toBe(P);
  },
);

test(
  'container.iommufd.unmap.v2',
  'as in TYPE1v2, UNMAP_DMA through an iommufd takes any number of whole mappings and splits none',
  {
    covers: [VFIO_IOMMU_UNMAP_DMA.fails('ENOENT')],
    source: `${AREAS} iopt_unmap_iova_range()`,
    ...AS_CONTAINER,
  },
  (context) => {
    const { container } = asContainer(context);
    const ram = context.memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * P });
    container.mapDma({ iova: BASE + 8n * P, vaddr: ram.address, size: P });
    for (const [page, pages] of [
      [0n, 1n],
      [1n, 1n],
      [3n, 1n],
      [2n, 9n],
    ] as const)
      expect(container.tryUnmapDma({ iova: BASE + page * P, size: pages * P })).toFailWith(
        'ENOENT',
      );
    expect(container.unmapDma({ iova: BASE - P, size: 10n * P })).toBe(5n * P);
    expect(container.unmapDma({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL })).toBe(0n);
  },
);

test(
  'container.iommufd.unmap.v1',
  'as in TYPE1, UNMAP_DMA through an iommufd splits mappings, and the device keeps what is left',
  {
    covers: [VFIO_IOMMU_UNMAP_DMA],
    source: [UNMAP, `${AREAS} iopt_cut_iova()`],
    ...AS_CONTAINER,
    provokes: [IOMMU_FAULT],
  },
  (context) => {
    const { container, device } = asContainer(context, VFIO_TYPE1_IOMMU);
    const ram = context.memory({ size: 6 * 4096, kind: '4k' });
    const map = { iova: 0n, vaddr: ram.address, size: 6n * P };
    container.mapDma(map);
    expect(container.unmapDma({ iova: 2n * P, size: P })).toBe(P);
    expect(container.unmapDma({ iova: 0n, size: P })).toBe(P);
    expect(container.unmapDma({ iova: 5n * P, size: P })).toBe(P);
    expect(container.tryMapDma(map)).toFailWith('EEXIST');
    const edu = new Edu(device);
    ram.fill(5);
    edu.readMemory(P, 4096);
    for (const page of [1n, 2n, 3n, 4n]) edu.writeMemory(page * P, 4096);
    // Page 2 is out of reach; the others have what page 1 has.
    expect(ram.verify(5, 2 * 4096, 4096, 2 * 4096)).toBe(-1);
    for (const page of [3, 4]) expect(ram.verify(5, page * 4096, 4096, 4096)).toBe(-1);
    expect(container.unmapDma({ iova: 0n, size: 6n * P })).toBe(3n * P);
    edu.unmap();
  },
);
