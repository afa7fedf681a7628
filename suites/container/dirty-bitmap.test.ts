import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  expect,
  mappingState,
  setBits,
  test,
  tryDirtyPages,
  tryGetDirtyBitmap,
  type Container,
  type DmaMemory,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const BASE = 0x100000n;
const UPDATE = 'drivers/vfio/vfio_iommu_type1.c update_user_bitmap()';
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const GET_KEY = VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP');
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

const LAYOUTS: { name: string; words: string; pages: number; extents: Extent[] }[] = [
  { name: 'one-page', words: 'one page', pages: 64, extents: [[0, 1]] },
  { name: 'whole-word', words: '64 pages', pages: 64, extents: [[0, 64]] },
  { name: 'word-and-one', words: '65 pages', pages: 128, extents: [[0, 65]] },
  { name: 'word-less-one', words: '63 pages', pages: 64, extents: [[0, 63]] },
  { name: 'unaligned', words: 'pages inside a word', pages: 64, extents: [[5, 9]] },
  { name: 'last-of-word', words: 'the last page of a word', pages: 64, extents: [[63, 1]] },
  { name: 'across-words', words: 'pages on both sides of a word', pages: 128, extents: [[60, 10]] },
  { name: 'three-words', words: 'pages in three words', pages: 192, extents: [[63, 66]] },
  {
    name: 'same-word',
    words: 'several mappings in one word',
    pages: 64,
    extents: [
      [0, 2],
      [3, 1],
      [10, 5],
      [15, 1],
      [63, 1],
    ],
  },
  {
    name: 'touching-across-words',
    words: 'mappings that touch inside words',
    pages: 192,
    extents: [
      [0, 50],
      [50, 50],
      [100, 50],
      [150, 42],
    ],
  },
];

for (const { name, words, pages, extents } of LAYOUTS) {
  test(
    `container.dirty.content.${name}`,
    `the bitmap of ${words} has a bit for each mapped page, and no other`,
    { covers: [GET_KEY], source: UPDATE },
    ({ container, memory }) => {
      const ram = memory({ size: 66 * 4096, kind: '4k' });
      mapAt(container, ram, extents);
      start(container);
      expect(dirty(container, pages)).toEqual(pagesOf(extents));
      // The pages stay pinned and writable for the device: they are dirty the next time too.
      expect(dirty(container, pages)).toEqual(expect.arrayContaining(pagesOf(extents)));
    },
  );
}

test(
  'container.dirty.content.second-read',
  'a bitmap that is read a second time has bits for mapped pages only',
  { covers: [GET_KEY], source: UPDATE },
  ({ container, memory }) => {
    const ram = memory({ size: 9 * 4096, kind: '4k' });
    mapAt(container, ram, [[5, 9]]);
    start(container);
    expect(dirty(container, 64)).toEqual(pagesOf([[5, 9]]));
    expect(dirty(container, 64)).toEqual(pagesOf([[5, 9]]));
  },
);

test(
  'container.dirty.content.offset-range',
  'the first bit of the bitmap stands for the first page of the range',
  { covers: [GET_KEY], source: UPDATE },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    mapAt(container, ram, [
      [0, 4],
      [10, 4],
      [80, 8],
    ]);
    for (const { from, count, bits } of [
      { from: 10, count: 64, bits: [0, 1, 2, 3] },
      { from: 8, count: 80, bits: [2, 3, 4, 5, 72, 73, 74, 75, 76, 77, 78, 79] },
      { from: 10, count: 4, bits: [0, 1, 2, 3] },
      { from: 14, count: 60, bits: [] },
    ]) {
      start(container);
      expect(dirty(container, count, from)).toEqual(bits);
      expect(tryDirtyPages(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP)).toSucceed(0);
    }
  },
);

test(
  'container.dirty.content.nothing-mapped',
  'where nothing is mapped nothing is dirty, and the bitmap is not written',
  { covers: [GET_KEY], source: UPDATE },
  ({ container }) => {
    start(container);
    expect(dirty(container, 200)).toEqual([]);
  },
);

test(
  'container.dirty.content.keeps-lower-bits',
  'bits that stand for pages before a mapping keep what the user had there',
  { covers: [GET_KEY], source: UPDATE },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    mapAt(container, ram, [[7, 1]]);
    start(container);
    const initial = Buffer.alloc(8);
    initial[0] = 0b0010_1001;
    const answer = tryGetDirtyBitmap(container, { iova: BASE, size: 64n * PAGE, initial });
    expect(answer).toSucceed(0);
    expect(setBits(answer.value.bitmap)).toEqual([0, 3, 5, 7]);
  },
);

test(
  'container.dirty.content.mapped-later',
  'mappings made and removed while tracking appear in and vanish from the bitmap',
  { covers: [GET_KEY], source: [DO_MAP, UPDATE] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    start(container);
    expect(dirty(container, 192)).toEqual([]);
    mapAt(container, ram, [
      [64, 3],
      [128, 1],
    ]);
    expect(dirty(container, 192)).toEqual([64, 65, 66, 128]);
    expect(container.unmapDma({ iova: BASE + 64n * PAGE, size: 3n * PAGE })).toBe(3n * PAGE);
    expect(dirty(container, 192)).toEqual([128]);
    mapAt(container, ram, [[64, 2]]);
    expect(dirty(container, 192)).toEqual([64, 65, 128]);
  },
);

test(
  'container.dirty.content.read-only',
  'a mapping through which the device may only read is tracked as any other, made before or while tracking',
  { covers: [GET_KEY], source: [DO_MAP, UPDATE] },
  ({ container, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const flags = VFIO_DMA_MAP_FLAG_READ;
    const map = { vaddr: ram.address, size: 2n * PAGE, flags };
    container.mapDma({ ...map, iova: BASE });
    start(container);
    container.mapDma({ ...map, iova: BASE + 8n * PAGE });
    expect(dirty(container, 64)).toEqual([0, 1, 8, 9]);
    expect(container.unmapDma({ iova: BASE, size: 16n * PAGE })).toBe(4n * PAGE);
  },
);

test(
  'container.dirty.content.restart',
  'tracking can be stopped and started again with the same and with other mappings',
  { covers: [GET_KEY], source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_bitmap_alloc_all()' },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapAt(container, ram, [[0, 4]]);
    start(container);
    expect(dirty(container, 64)).toEqual([0, 1, 2, 3]);
    expect(tryDirtyPages(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP)).toSucceed(0);
    mapAt(container, ram, [[8, 1]]);
    start(container);
    expect(dirty(container, 64)).toEqual([0, 1, 2, 3, 8]);
  },
);

test(
  'container.dirty.content.refused-mapping',
  'a mapping that fails while tracking leaves no trace in the bitmap',
  { covers: [GET_KEY], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    mapAt(container, ram, [[0, 1]]);
    start(container);
    const before = mappingState(container);
    const failing = { iova: BASE + PAGE, vaddr: 0n, size: PAGE };
    expect(container.tryMapDma(failing)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    expect(dirty(container, 64)).toEqual([0]);
  },
);

test(
  'container.dirty.content.groups',
  'pages stay dirty for the groups that remain when one of two leaves',
  {
    covers: [GET_KEY],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_detach_group()',
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, openGroup, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapAt(container, ram, [[0, 4]]);
    openGroup('edu-rp').setContainer(container);
    start(container);
    expect(dirty(container, 64)).toEqual([0, 1, 2, 3]);
    openGroup('edu-rp').unsetContainer();
    for (let round = 0; round < 3; round++) {
      expect(dirty(container, 64)).toEqual([0, 1, 2, 3]);
    }
  },
);
