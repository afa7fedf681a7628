import {
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  mappingState,
  setBits,
  test,
  tryDirtyPages,
  tryGetDirtyBitmap,
  tryUnmapWithBitmap,
  type Container,
  type DmaMemory,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const BASE = 0x100000n;
const UNMAP_DMA = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_unmap_dma()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const UNMAP_KEY = VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP');
type Extent = readonly [at: number, pages: number];

function mapAt(container: Container, ram: DmaMemory, extents: readonly Extent[]): void {
  for (const [at, pages] of extents) {
    const size = BigInt(pages) * PAGE;
    container.mapDma({ iova: BASE + BigInt(at) * PAGE, vaddr: ram.address, size });
  }
}

/** Numbers of the pages that the extents cover. */
const pagesOf = (extents: readonly Extent[]) =>
  extents.flatMap(([at, pages]) => Array.from({ length: pages }, (_, index) => at + index));

function start(container: Container): void {
  expect(tryDirtyPages(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START)).toSucceed(0);
}

/** The bitmap of pages 0…count-1 from {@link BASE}; nothing behind it may be written. */
function dirty(container: Container, count: number, from = 0): number[] {
  const iova = BASE + BigInt(from) * PAGE;
  const answer = tryGetDirtyBitmap(container, { iova, size: BigInt(count) * PAGE });
  expect(answer).toSucceed(0);
  expect(answer.value.intact).toBe(true);
  return setBits(answer.value.bitmap);
}

test(
  'container.dirty.unmap',
  'an unmap with a bitmap tells which pages were dirty, then the mappings are gone',
  { covers: [UNMAP_KEY], source: [UNMAP_DMA, DO_UNMAP] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const before = mappingState(container);
    const extents: Extent[] = [
      [1, 2],
      [5, 1],
      [62, 4],
    ];
    mapAt(container, ram, extents);
    start(container);
    const request = { iova: BASE, size: 128n * PAGE };
    const answer = tryUnmapWithBitmap(container, request);
    expect(answer).toSucceed(0);
    expect(answer.value.unmapped).toBe(7n * PAGE);
    expect(setBits(answer.value.bitmap)).toEqual(pagesOf(extents));
    expect(answer.value.intact).toBe(true);
    expect(mappingState(container)).toEqual(before);
    const again = tryUnmapWithBitmap(container, request);
    expect(again).toSucceed(0);
    expect(again.value.unmapped).toBe(0n);
    expect(setBits(again.value.bitmap)).toEqual([]);
  },
);

test(
  'container.dirty.unmap.without-bitmap',
  'while tracking, mappings can be unmapped without asking for a bitmap',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    mapAt(container, ram, [[0, 1]]);
    start(container);
    expect(container.unmapDma({ iova: BASE, size: PAGE })).toBe(PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.dirty.unmap.not-tracking',
  'without tracking an unmap with a bitmap is refused and unmaps nothing',
  { covers: [UNMAP_KEY, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    mapAt(container, ram, [[0, 1]]);
    expect(tryUnmapWithBitmap(container, { iova: BASE, size: PAGE })).toFailWith('EINVAL');
    expect(container.unmapDma({ iova: BASE, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.dirty.unmap.arguments',
  'an unmap with a wrong bitmap is refused and unmaps nothing',
  { covers: [UNMAP_KEY, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: [UNMAP_DMA, DO_UNMAP] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapAt(container, ram, [[0, 4]]);
    start(container);
    const before = mappingState(container);
    const right = { iova: BASE, size: 4n * PAGE };
    for (const wrong of [
      { argsz: 24 },
      { argsz: 32 },
      { argsz: 47 },
      { bitmapSize: 0n },
      { bitmapSize: 7n },
      { bitmapSize: (256n << 20n) + 8n },
      { pgsize: 8192n, bitmapSize: 8n },
      { pgsize: 2048n, bitmapSize: 8n },
      { data: 0xffff_8880_0000_0000n },
      { size: 2n * PAGE },
      { iova: BASE + PAGE, size: 3n * PAGE },
      { size: 65n * PAGE, bitmapSize: 8n },
    ]) {
      const answer = tryUnmapWithBitmap(container, { ...right, ...wrong });
      expect(answer).toFailWith('EINVAL');
      expect(setBits(answer.value.bitmap)).toEqual([]);
    }
    expect(mappingState(container)).toEqual(before);
    const answer = tryUnmapWithBitmap(container, right);
    expect(setBits(answer.value.bitmap)).toEqual([0, 1, 2, 3]);
  },
);

test(
  'container.dirty.unmap.bad-bitmap',
  'a mapping whose bitmap cannot be written is not unmapped',
  { covers: [UNMAP_KEY, VFIO_IOMMU_UNMAP_DMA.fails('EFAULT')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const none = memory({ size: 4096, kind: '4k', prot: 0 });
    mapAt(container, ram, [[0, 4]]);
    start(container);
    const before = mappingState(container);
    for (const data of [0n, none.address]) {
      const request = { iova: BASE, size: 4n * PAGE, data };
      expect(tryUnmapWithBitmap(container, request)).toFailWith('EFAULT');
    }
    expect(mappingState(container)).toEqual(before);
    expect(dirty(container, 64)).toEqual([0, 1, 2, 3]);
    expect(container.unmapDma({ iova: BASE, size: 4n * PAGE })).toBe(4n * PAGE);
  },
);
