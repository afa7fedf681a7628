import {
  VFIO_IOMMU_DIRTY_PAGES,
  expect,
  setBits,
  startDirtyTracking,
  test,
  tryGetDirtyBitmap,
  type BitmapRequest,
  type Container,
} from '../../../harness/testing/index.ts';
import { WRAP_ERRNO } from '../wrap-errno.ts';

const PAGE = 4096n;
const TOP = 1n << 64n;
const BASE = 0x100000n;
const DIRTY = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_dirty_pages()';
const BITMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_iova_dirty_bitmap()';
const VERIFY = 'drivers/vfio/vfio_iommu_type1.c verify_bitmap_size()';
const GET_KEY = VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP');
const EINVAL = VFIO_IOMMU_DIRTY_PAGES.fails('EINVAL');
function expectRefused(container: Container, requests: BitmapRequest[]): void {
  for (const request of requests) {
    const answer = tryGetDirtyBitmap(container, request);
    expect(answer).toFailWith('EINVAL');
    expect(setBits(answer.value.bitmap)).toEqual([]);
    expect(answer.value.intact).toBe(true);
  }
}

test(
  'container.dirty.get.not-started',
  'without tracking there is no bitmap',
  { covers: [GET_KEY, EINVAL], source: DIRTY },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    expectRefused(container, [
      { iova: BASE, size: PAGE },
      { iova: 0n, size: PAGE },
    ]);
  },
);

test(
  'container.dirty.get.argsz',
  'GET_BITMAP needs room for the range and the bitmap in argsz',
  { covers: [GET_KEY, EINVAL], source: DIRTY },
  ({ container }) => {
    startDirtyTracking(container);
    const request = { iova: 0n, size: PAGE };
    expectRefused(
      container,
      [8, 9, 24, 32, 47].map((argsz) => ({ ...request, argsz })),
    );
    expect(tryGetDirtyBitmap(container, { ...request, argsz: 48 })).toSucceed(0);
    expect(tryGetDirtyBitmap(container, { ...request, argsz: 56 })).toSucceed(0);
  },
);

test(
  'container.dirty.get.page-size',
  'a bit stands for a page of the smallest size, and for no other',
  { covers: [GET_KEY, EINVAL], source: DIRTY },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: ram.address, size: PAGE });
    startDirtyTracking(container);
    const size = 1n << 21n;
    expectRefused(
      container,
      [1n, 512n, 2048n, 8192n, 0x3000n, 1n << 21n].map((pgsize) => ({
        iova: 0n,
        size,
        pgsize,
        bitmapSize: size / 8n,
      })),
    );
    expect(tryGetDirtyBitmap(container, { iova: 0n, size })).toSucceed(0);
  },
);

test(
  'container.dirty.get.range',
  'the range of a bitmap consists of whole pages',
  { covers: [GET_KEY, EINVAL], source: DIRTY },
  ({ container }) => {
    startDirtyTracking(container);
    const size = 64n * PAGE;
    expectRefused(container, [
      { iova: BASE + 1n, size },
      { iova: BASE + 2048n, size },
      { iova: BASE, size: size + 1n, bitmapSize: 16n },
      { iova: BASE, size: size + 2048n, bitmapSize: 16n },
      { iova: BASE, size: 2048n, bitmapSize: 8n },
      { iova: BASE, size: 0n, bitmapSize: 8n },
    ]);
  },
);

test(
  'container.dirty.get.wrap',
  'a range that passes 2^64 is refused',
  { covers: [GET_KEY, VFIO_IOMMU_DIRTY_PAGES.fails('EOVERFLOW')], source: DIRTY },
  ({ container }) => {
    startDirtyTracking(container);
    for (const [iova, size] of [
      [TOP - PAGE, 2n * PAGE],
      [TOP - 4n * PAGE, 64n * PAGE],
    ] as const) {
      expect(tryGetDirtyBitmap(container, { iova, size })).toFailWith(WRAP_ERRNO);
    }
  },
);

test(
  'container.dirty.get.to-the-top',
  'a range that ends at 2^64 exactly is a valid one',
  { covers: [GET_KEY], source: DIRTY, since: '6.18' },
  ({ container }) => {
    startDirtyTracking(container);
    const answer = tryGetDirtyBitmap(container, { iova: TOP - PAGE, size: PAGE });
    expect(answer).toSucceed(0);
    expect(setBits(answer.value.bitmap)).toEqual([]);
  },
);

test(
  'container.dirty.get.bitmap-size',
  'the bitmap has a bit for each page, in whole 64-bit words',
  { covers: [GET_KEY, EINVAL], source: VERIFY },
  ({ container }) => {
    startDirtyTracking(container);
    for (const { pages, bytes } of [
      { pages: 1n, bytes: 8n },
      { pages: 64n, bytes: 8n },
      { pages: 65n, bytes: 16n },
      { pages: 128n, bytes: 16n },
      { pages: 129n, bytes: 24n },
    ]) {
      const request = { iova: BASE, size: pages * PAGE };
      expectRefused(container, [
        { ...request, bitmapSize: 0n },
        { ...request, bitmapSize: bytes - 1n },
        { ...request, bitmapSize: bytes - 8n },
      ]);
      expect(tryGetDirtyBitmap(container, { ...request, bitmapSize: bytes })).toSucceed(0);
      expect(tryGetDirtyBitmap(container, { ...request, bitmapSize: bytes + 8n })).toSucceed(0);
    }
  },
);

test(
  'container.dirty.get.largest-bitmap',
  'a bitmap has at most 256 MiB',
  { covers: [GET_KEY, EINVAL], source: VERIFY },
  ({ container }) => {
    startDirtyTracking(container);
    const MAX = 256n * 1024n * 1024n;
    const request = { iova: BASE, size: PAGE };
    expect(tryGetDirtyBitmap(container, { ...request, bitmapSize: MAX })).toSucceed(0);
    expectRefused(container, [
      { ...request, bitmapSize: MAX + 1n },
      { ...request, bitmapSize: MAX + 8n },
      { ...request, bitmapSize: 1n << 40n },
    ]);
  },
);

test(
  'container.dirty.get.largest-range',
  'a bitmap stands for at most 2^31 pages',
  { covers: [GET_KEY, EINVAL], source: VERIFY },
  ({ container }) => {
    startDirtyTracking(container);
    const bitmapSize = 256n * 1024n * 1024n;
    const size = (1n << 31n) * PAGE;
    // Nothing is mapped: the bitmap is not touched, and need not be there.
    expect(tryGetDirtyBitmap(container, { iova: 0n, size, bitmapSize })).toSucceed(0);
    for (const needed of [bitmapSize, bitmapSize + 8n]) {
      const request = { iova: 0n, size: size + PAGE, bitmapSize: needed };
      expect(tryGetDirtyBitmap(container, request)).toFailWith('EINVAL');
    }
    const short = { iova: 0n, size, bitmapSize: bitmapSize - 8n };
    expect(tryGetDirtyBitmap(container, short)).toFailWith('EINVAL');
  },
);

test(
  'container.dirty.get.bad-bitmap',
  'a bitmap that cannot be written is answered with EFAULT, one that cannot be ours with EINVAL',
  { covers: [GET_KEY, VFIO_IOMMU_DIRTY_PAGES.fails('EFAULT'), EINVAL], source: [DIRTY, BITMAP] },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const none = memory({ size: 4096, kind: '4k', prot: 0 });
    const readOnly = memory({ size: 4096, kind: '4k', prot: 1 });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    startDirtyTracking(container);
    const request = { iova: BASE, size: PAGE };
    for (const data of [0n, none.address, readOnly.address]) {
      expect(tryGetDirtyBitmap(container, { ...request, data })).toFailWith('EFAULT');
    }
    const kernel = 0xffff_8880_0000_0000n;
    expect(tryGetDirtyBitmap(container, { ...request, data: kernel })).toFailWith('EINVAL');
    expect(tryGetDirtyBitmap(container, request)).toSucceed(0);
  },
);

test(
  'container.dirty.get.bisect',
  'a range that bisects a mapping has no bitmap',
  { covers: [GET_KEY, EINVAL], source: BITMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * PAGE });
    startDirtyTracking(container);
    expectRefused(
      container,
      [
        [0n, 1n],
        [0n, 3n],
        [1n, 3n],
        [1n, 1n],
        [3n, 8n],
        [-4n, 5n],
        [-4n, 7n],
      ].map(([at, pages]) => ({ iova: BASE + at! * PAGE, size: pages! * PAGE })),
    );
    for (const [at, pages] of [
      [0n, 4n],
      [-4n, 8n],
      [0n, 64n],
      [4n, 4n],
      [-4n, 4n],
    ] as const) {
      const request = { iova: BASE + at * PAGE, size: pages * PAGE };
      expect(tryGetDirtyBitmap(container, request)).toSucceed(0);
    }
  },
);
