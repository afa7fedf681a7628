import {
  MAP_SHARED,
  PROT_READ,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  ioctl,
  mappingState,
  sys,
  test,
  vfio_iommu_type1_dma_unmap,
} from '../../../harness/testing/index.ts';
import { WRAP_ERRNO } from '../wrap-errno.ts';

const PAGE = 4096n;
const TOP = 1n << 64n;
const UNMAP_DMA = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_unmap_dma()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const UNMAP_SIZE = vfio_iommu_type1_dma_unmap.size;

test(
  'container.unmap-dma.nothing',
  'unmapping where nothing is mapped succeeds and reports zero bytes',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A2'] },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0x100000n, vaddr: pages.address, size: PAGE });
    const before = mappingState(container);
    for (const range of [
      { iova: 0x10000n, size: PAGE },
      { iova: 0n, size: 0x100000n },
      { iova: 0x101000n, size: PAGE },
      { iova: 0x101000n, size: 1n << 40n },
    ]) {
      const answer = container.tryUnmapDma(range);
      expect(answer).toSucceed(0);
      expect(answer.value).toBe(0n);
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.unmap-dma.twice',
  'a mapping is unmapped once; the second time there is nothing',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP, peer: ['A2', 'S15'] },
  ({ container, memory }) => {
    const pages = memory({ size: 3 * 4096, kind: '4k' });
    const before = mappingState(container);
    container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: 3n * PAGE });
    expect(container.unmapDma({ iova: 0x10000n, size: 3n * PAGE })).toBe(3n * PAGE);
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma({ iova: 0x10000n, size: 3n * PAGE })).toBe(0n);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.unmap-dma.argsz.short',
  'an argsz below the size of the structure is refused and nothing is unmapped',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: UNMAP_DMA },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    const before = mappingState(container);
    for (const argsz of [0, 1, 8, 16, UNMAP_SIZE - 1]) {
      const answer = container.tryUnmapDma({ iova: 0n, size: PAGE, argsz });
      expect(answer).toFailWith('EINVAL');
      expect(answer.value).toBe(PAGE);
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.unmap-dma.argsz.long',
  'a longer argsz is taken; only the size is written, and nothing behind the structure',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: [UNMAP_DMA, 'include/uapi/linux/vfio.h'] },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    for (const argsz of [UNMAP_SIZE, UNMAP_SIZE + 1, 64, 0xffffffff]) {
      container.mapDma({ iova: 0x10000n, vaddr: pages.address, size: PAGE });
      const argument = Buffer.alloc(128, 0xa5);
      const given = { argsz, flags: 0, iova: 0x8000n, size: 0x10000n };
      vfio_iommu_type1_dma_unmap.encode(given).copy(argument);
      expect(ioctl(container.fd, VFIO_IOMMU_UNMAP_DMA, argument)).toSucceed(0);
      expect(vfio_iommu_type1_dma_unmap.decode(argument)).toEqual({ ...given, size: PAGE });
      const behind = argument.subarray(UNMAP_SIZE);
      expect(behind.equals(Buffer.alloc(128 - UNMAP_SIZE, 0xa5))).toBe(true);
    }
  },
);

test(
  'container.unmap-dma.bad-pointer',
  'an argument that cannot be read is answered with EFAULT and nothing is unmapped',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EFAULT')], source: UNMAP_DMA },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    const none = memory({ size: 4096, kind: '4k', prot: 0 });
    for (const address of [0n, TOP - PAGE, none.address]) {
      expect(ioctl(container.fd, VFIO_IOMMU_UNMAP_DMA, address)).toFailWith('EFAULT');
    }
    expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.unmap-dma.flags.unknown',
  'each unknown flag is refused and nothing is unmapped',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: UNMAP_DMA },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    const before = mappingState(container);
    for (let bit = 3; bit < 32; bit++) {
      const flags = (1 << bit) >>> 0;
      expect(container.tryUnmapDma({ iova: 0n, size: PAGE, flags })).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.unmap-dma.flags.bitmap-excludes',
  'a dirty bitmap is not to be had with VFIO_DMA_UNMAP_FLAG_ALL or _VADDR',
  {
    covers: [
      VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP'),
      VFIO_IOMMU_UNMAP_DMA.fails('EINVAL'),
    ],
    source: UNMAP_DMA,
  },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    for (const other of [VFIO_DMA_UNMAP_FLAG_ALL, VFIO_DMA_UNMAP_FLAG_VADDR]) {
      const flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP | other;
      const size = other === VFIO_DMA_UNMAP_FLAG_ALL ? 0n : PAGE;
      expect(container.tryUnmapDma({ iova: 0n, size, flags })).toFailWith('EINVAL');
    }
    expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.unmap-dma.size.zero',
  'a size of zero is refused without VFIO_DMA_UNMAP_FLAG_ALL',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    for (const iova of [0n, PAGE, TOP - PAGE]) {
      expect(container.tryUnmapDma({ iova, size: 0n })).toFailWith('EINVAL');
    }
    expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
  },
);

for (const field of ['iova', 'size'] as const) {
  test(
    `container.unmap-dma.alignment.${field}`,
    `the ${field} of an unmap is a multiple of the smallest page size`,
    { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
    ({ container, memory }) => {
      const pages = memory({ size: 2 * 4096, kind: '4k' });
      const range = { iova: 0x10000n, size: 2n * PAGE };
      container.mapDma({ ...range, vaddr: pages.address });
      const before = mappingState(container);
      for (const off of [1n, 8n, 512n, 2048n, 4095n]) {
        const wrong = { ...range, [field]: range[field] + off };
        expect(container.tryUnmapDma(wrong)).toFailWith('EINVAL');
        const outside = { iova: 0x100000n, size: PAGE };
        const nothing = { ...outside, [field]: outside[field] + off };
        expect(container.tryUnmapDma(nothing)).toFailWith('EINVAL');
      }
      expect(mappingState(container)).toEqual(before);
      expect(container.unmapDma(range)).toBe(2n * PAGE);
    },
  );
}

test(
  'container.unmap-dma.wrap',
  'a range that passes 2^64 is refused and nothing is unmapped',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EOVERFLOW')], source: DO_UNMAP, peer: ['S18'] },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    for (const [iova, size] of [
      [TOP - PAGE, 2n * PAGE],
      [TOP - 2n * PAGE, 4n * PAGE],
      [2n * PAGE, TOP - PAGE],
      [1n << 63n, (1n << 63n) + PAGE],
    ] as const) {
      const answer = container.tryUnmapDma({ iova, size });
      expect(answer).toFailWith(WRAP_ERRNO);
      expect(answer.value).toBe(size);
    }
    expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.unmap-dma.to-the-top',
  'a range that ends at 2^64 exactly is a valid one',
  {
    covers: [VFIO_IOMMU_UNMAP_DMA],
    source: DO_UNMAP,
    since: '6.18',
    fixes: ['vfio/type1: handle DMA map/unmap up to the addressable limit'],
  },
  ({ container, memory }) => {
    const pages = memory({ size: 2 * 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: pages.address, size: PAGE });
    container.mapDma({ iova: 0x10000n, vaddr: pages.address + PAGE, size: PAGE });
    expect(container.unmapDma({ iova: TOP - PAGE, size: PAGE })).toBe(0n);
    expect(container.unmapDma({ iova: PAGE, size: TOP - PAGE })).toBe(PAGE);
    expect(container.unmapDma({ iova: 0n, size: TOP - PAGE })).toBe(PAGE);
  },
);

test(
  'container.unmap-dma.read-only-argument',
  'a size that cannot be written back is answered with EFAULT, and the container stays usable',
  { covers: [VFIO_IOMMU_UNMAP_DMA.fails('EFAULT')], source: UNMAP_DMA },
  ({ container, memory, defer }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    const argument = memory({ size: 4096, kind: 'memfd' });
    const readOnly = sys.mmap(0n, 4096, PROT_READ, MAP_SHARED, argument.fd, 0);
    defer(() => void sys.munmap(readOnly, 4096));
    argument.write(0, vfio_iommu_type1_dma_unmap.encode({ flags: 0, iova: 0x10000n, size: PAGE }));
    const map = { iova: 0x10000n, vaddr: pages.address, size: PAGE };
    container.mapDma(map);
    expect(ioctl(container.fd, VFIO_IOMMU_UNMAP_DMA, readOnly)).toFailWith('EFAULT');
    container.tryUnmapDma({ iova: map.iova, size: PAGE });
    expect(mappingState(container)).toEqual(before);
    expect(container.tryMapDma(map)).toSucceed(0);
  },
);
