import {
  VFIO_IOMMU_MAP_DMA,
  expect,
  mappingState,
  sys,
  test,
  type DmaMemory,
} from '../../../harness/testing/index.ts';
import { WRAP_ERRNO } from '../wrap-errno.ts';

const PAGE = 4096n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const TOP = 1n << 64n;

/** Takes away the last page, so that nothing lies behind the others. */
function munmapLast({ address, size }: DmaMemory): void {
  expect(sys.munmap(address + BigInt(size) - PAGE, 4096)).toBe(0);
}

test(
  'container.map-dma.size.zero',
  'a mapping of no bytes is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    for (const iova of [0n, PAGE, TOP - PAGE]) {
      expect(container.tryMapDma({ iova, vaddr: pages.address, size: 0n })).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

for (const field of ['iova', 'vaddr', 'size'] as const) {
  test(
    `container.map-dma.alignment.${field}`,
    `the ${field} of a mapping is a multiple of the smallest page size`,
    { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
    ({ container, memory }) => {
      const pages = memory({ size: 4 * 4096, kind: '4k' });
      const before = mappingState(container);
      const { iova_pgsizes } = container.getInfo();
      const smallest = iova_pgsizes & -iova_pgsizes;
      const right = { iova: 0x10000n, vaddr: pages.address, size: 2n * PAGE };
      for (const off of [1n, 8n, 512n, 2048n, smallest - 1n]) {
        const wrong = { ...right, [field]: right[field] + off };
        expect(container.tryMapDma(wrong)).toFailWith('EINVAL');
      }
      expect(mappingState(container)).toEqual(before);
      expect(container.tryMapDma({ ...right, [field]: right[field] + smallest })).toSucceed(0);
    },
  );
}

test(
  'container.map-dma.alignment.size-below-a-page',
  'a size below the smallest page size is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    for (const size of [1n, 512n, 2048n, PAGE - 1n]) {
      expect(container.tryMapDma({ iova: 0n, vaddr: pages.address, size })).toFailWith('EINVAL');
    }
  },
);

test(
  'container.map-dma.wrap.iova',
  'a mapping whose iova + size passes 2^64 is refused',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('EOVERFLOW')],
    source: DO_MAP,
    peer: ['S18'],
  },
  ({ container, memory }) => {
    const pages = memory({ size: 4 * 4096, kind: '4k' });
    const before = mappingState(container);
    const vaddr = pages.address;
    for (const [iova, size] of [
      [TOP - PAGE, 2n * PAGE],
      [TOP - 2n * PAGE, 3n * PAGE],
      [TOP - 2n * PAGE, 4n * PAGE],
      [1n << 63n, (1n << 63n) + PAGE],
    ] as const) {
      expect(container.tryMapDma({ iova, vaddr, size })).toFailWith(WRAP_ERRNO);
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.wrap.iova-at-the-top',
  'iova + size of exactly 2^64 does not wrap: the IOVA range decides',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const last = container.iovaRanges().at(-1)!.end;
    const answer = container.tryMapDma({ iova: TOP - PAGE, vaddr: pages.address, size: PAGE });
    if (last === TOP - 1n) expect(answer).toSucceed(0);
    else expect(answer).toFailWith('EINVAL');
  },
);

test(
  'container.map-dma.wrap.vaddr',
  'a mapping whose vaddr + size passes 2^64 is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EOVERFLOW')], source: DO_MAP },
  ({ container }) => {
    const before = mappingState(container);
    for (const [vaddr, size] of [
      [TOP - PAGE, 2n * PAGE],
      [TOP - 2n * PAGE, 3n * PAGE],
      [TOP - 2n * PAGE, 4n * PAGE],
    ] as const) {
      expect(container.tryMapDma({ iova: 0n, vaddr, size })).toFailWith(WRAP_ERRNO);
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.wrap.vaddr-at-the-top',
  'vaddr + size of exactly 2^64 does not wrap: there is no memory of the process',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: DO_MAP },
  ({ container }) => {
    const before = mappingState(container);
    const answer = container.tryMapDma({ iova: 0n, vaddr: TOP - PAGE, size: PAGE });
    expect(answer).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.iova.zero',
  'IOVA 0 can be mapped',
  { covers: [VFIO_IOMMU_MAP_DMA], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    expect(container.tryMapDma({ iova: 0n, vaddr: pages.address, size: PAGE })).toSucceed(0);
    expect(container.unmapDma({ iova: 0n, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.map-dma.iova.4g-boundary',
  'a mapping may cross the 4 GiB boundary',
  { covers: [VFIO_IOMMU_MAP_DMA], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 2 * 4096, kind: '4k' });
    const iova = (1n << 32n) - PAGE;
    expect(container.tryMapDma({ iova, vaddr: pages.address, size: 2n * PAGE })).toSucceed(0);
    expect(container.tryUnmapDma({ iova, size: PAGE })).toFailWith('EINVAL');
    expect(container.tryUnmapDma({ iova: iova + PAGE, size: PAGE })).toFailWith('EINVAL');
    expect(container.unmapDma({ iova, size: 2n * PAGE })).toBe(2n * PAGE);
  },
);

test(
  'container.map-dma.iova.no-alias',
  'IOVAs that differ above 32 bits only are different',
  { covers: [VFIO_IOMMU_MAP_DMA], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 4096, kind: '4k' });
    const low = { iova: 0x10000n, vaddr: pages.address, size: PAGE };
    const high = { ...low, iova: (1n << 32n) + 0x10000n };
    expect(container.tryMapDma(low)).toSucceed(0);
    expect(container.tryMapDma(high)).toSucceed(0);
    expect(container.tryMapDma(high)).toFailWith('EEXIST');
    expect(container.unmapDma({ iova: low.iova, size: PAGE })).toBe(PAGE);
    expect(container.tryMapDma(high)).toFailWith('EEXIST');
    expect(container.unmapDma({ iova: high.iova, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.map-dma.size.above-32-bits',
  'the size of a mapping has 64 bits: memory of its lower half does not suffice',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: DO_MAP },
  ({ container, memory }) => {
    const pages = memory({ size: 3 * 4096, kind: '4k' });
    munmapLast(pages);
    const before = mappingState(container);
    const iova = 1n << 32n;
    for (const size of [(1n << 32n) + PAGE, (1n << 36n) + 2n * PAGE]) {
      expect(container.tryMapDma({ iova, vaddr: pages.address, size })).toFailWith('EFAULT');
    }
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma({ iova, size: 1n << 37n })).toBe(0n);
  },
);
