import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_DIRTY_PAGES,
  expect,
  mappingState,
  setBits,
  startDirtyTracking,
  stopDirtyTracking,
  test,
  tryGetDirtyBitmap,
} from '../../../harness/testing/index.ts';
import { dirtyPages, pagesOf } from './dirty-pages.ts';
import { BASE, PAGE, mapExtents, range, type Extent } from '../page-extents.ts';

const UPDATE = 'drivers/vfio/vfio_iommu_type1.c update_user_bitmap()';
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const GET_KEY = VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP');

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
      mapExtents(container, ram, extents);
      startDirtyTracking(container);
      expect(dirtyPages(container, pages)).toEqual(pagesOf(extents));
      // The pages stay pinned and writable for the device: they are dirty the next time too.
      expect(dirtyPages(container, pages)).toEqual(expect.arrayContaining(pagesOf(extents)));
    },
  );
}

test(
  'container.dirty.content.second-read',
  'a bitmap that is read a second time has bits for mapped pages only',
  { covers: [GET_KEY], source: UPDATE },
  ({ container, memory }) => {
    const ram = memory({ size: 9 * 4096, kind: '4k' });
    mapExtents(container, ram, [[5, 9]]);
    startDirtyTracking(container);
    expect(dirtyPages(container, 64)).toEqual(pagesOf([[5, 9]]));
    expect(dirtyPages(container, 64)).toEqual(pagesOf([[5, 9]]));
  },
);

test(
  'container.dirty.content.offset-range',
  'the first bit of the bitmap stands for the first page of the range',
  { covers: [GET_KEY], source: UPDATE },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    mapExtents(container, ram, [
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
      startDirtyTracking(container);
      expect(dirtyPages(container, count, from)).toEqual(bits);
      stopDirtyTracking(container);
    }
  },
);

test(
  'container.dirty.content.nothing-mapped',
  'where nothing is mapped nothing is dirty, and the bitmap is not written',
  { covers: [GET_KEY], source: UPDATE },
  ({ container }) => {
    startDirtyTracking(container);
    expect(dirtyPages(container, 200)).toEqual([]);
  },
);

test(
  'container.dirty.content.keeps-lower-bits',
  'bits that stand for pages before a mapping keep what the user had there',
  { covers: [GET_KEY], source: UPDATE },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    mapExtents(container, ram, [[7, 1]]);
    startDirtyTracking(container);
    const initial = Buffer.alloc(8);
    initial[0] = 0b0010_1001;
    const answer = tryGetDirtyBitmap(container, { ...range(0, 64), initial });
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
    startDirtyTracking(container);
    expect(dirtyPages(container, 192)).toEqual([]);
    mapExtents(container, ram, [
      [64, 3],
      [128, 1],
    ]);
    expect(dirtyPages(container, 192)).toEqual([64, 65, 66, 128]);
    expect(container.unmapDma(range(64, 3))).toBe(3n * PAGE);
    expect(dirtyPages(container, 192)).toEqual([128]);
    mapExtents(container, ram, [[64, 2]]);
    expect(dirtyPages(container, 192)).toEqual([64, 65, 128]);
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
    startDirtyTracking(container);
    container.mapDma({ ...map, iova: BASE + 8n * PAGE });
    expect(dirtyPages(container, 64)).toEqual([0, 1, 8, 9]);
    expect(container.unmapDma(range(0, 16))).toBe(4n * PAGE);
  },
);

test(
  'container.dirty.content.restart',
  'tracking can be stopped and started again with the same and with other mappings',
  { covers: [GET_KEY], source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_bitmap_alloc_all()' },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 4]]);
    startDirtyTracking(container);
    expect(dirtyPages(container, 64)).toEqual([0, 1, 2, 3]);
    stopDirtyTracking(container);
    mapExtents(container, ram, [[8, 1]]);
    startDirtyTracking(container);
    expect(dirtyPages(container, 64)).toEqual([0, 1, 2, 3, 8]);
  },
);

test(
  'container.dirty.content.refused-mapping',
  'a mapping that fails while tracking leaves no trace in the bitmap',
  { covers: [GET_KEY], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 1]]);
    startDirtyTracking(container);
    const before = mappingState(container);
    const failing = { ...range(1, 1), vaddr: 0n };
    expect(container.tryMapDma(failing)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    expect(dirtyPages(container, 64)).toEqual([0]);
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
    mapExtents(container, ram, [[0, 4]]);
    openGroup('edu-rp').setContainer(container);
    startDirtyTracking(container);
    expect(dirtyPages(container, 64)).toEqual([0, 1, 2, 3]);
    openGroup('edu-rp').unsetContainer();
    for (let round = 0; round < 3; round++) {
      expect(dirtyPages(container, 64)).toEqual([0, 1, 2, 3]);
    }
  },
);
