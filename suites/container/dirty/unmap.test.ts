import {
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  ioctl,
  mappingState,
  setBits,
  startDirtyTracking,
  sys,
  test,
  tryUnmapWithBitmap,
  vfio_bitmap,
  vfio_iommu_type1_dma_unmap,
} from '../../../harness/testing/index.ts';
import { dirtyPages, pagesOf } from './dirty-pages.ts';
import { PAGE, mapExtents, range, type Extent } from '../page-extents.ts';

const UNMAP_DMA = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_unmap_dma()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const UPDATE = 'drivers/vfio/vfio_iommu_type1.c update_user_bitmap()';
const UNMAP_KEY = VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP');

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
    mapExtents(container, ram, extents);
    startDirtyTracking(container);
    const request = range(0, 128);
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
    mapExtents(container, ram, [[0, 1]]);
    startDirtyTracking(container);
    expect(container.unmapDma(range(0, 1))).toBe(PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.dirty.unmap.not-tracking',
  'without tracking an unmap with a bitmap is refused and unmaps nothing',
  { covers: [UNMAP_KEY, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: DO_UNMAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 1]]);
    expect(tryUnmapWithBitmap(container, range(0, 1))).toFailWith('EINVAL');
    expect(container.unmapDma(range(0, 1))).toBe(PAGE);
  },
);

test(
  'container.dirty.unmap.arguments',
  'an unmap with a wrong bitmap is refused and unmaps nothing',
  { covers: [UNMAP_KEY, VFIO_IOMMU_UNMAP_DMA.fails('EINVAL')], source: [UNMAP_DMA, DO_UNMAP] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    mapExtents(container, ram, [[0, 4]]);
    startDirtyTracking(container);
    const before = mappingState(container);
    const right = range(0, 4);
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
      range(1, 3),
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
    mapExtents(container, ram, [[0, 4]]);
    startDirtyTracking(container);
    const before = mappingState(container);
    for (const data of [0n, none.address]) {
      const request = { ...range(0, 4), data };
      expect(tryUnmapWithBitmap(container, request)).toFailWith('EFAULT');
    }
    expect(mappingState(container)).toEqual(before);
    expect(dirtyPages(container, 64)).toEqual([0, 1, 2, 3]);
    expect(container.unmapDma(range(0, 4))).toBe(4n * PAGE);
  },
);

test(
  'container.dirty.unmap.bad-bitmap-offset',
  'a mapping whose bits begin inside a word that cannot be read is not unmapped',
  { covers: [UNMAP_KEY, VFIO_IOMMU_UNMAP_DMA.fails('EFAULT')], source: UPDATE },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const none = memory({ size: 4096, kind: '4k', prot: 0 });
    mapExtents(container, ram, [[5, 4]]);
    startDirtyTracking(container);
    const before = mappingState(container);
    const request = { ...range(0, 64), data: none.address };
    expect(tryUnmapWithBitmap(container, request)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    expect(dirtyPages(container, 64)).toEqual(expect.arrayContaining([5, 6, 7, 8]));
    expect(container.unmapDma(range(5, 4))).toBe(4n * PAGE);
  },
);

test(
  'container.dirty.unmap.half-a-structure',
  'an unmap whose description of the bitmap lies behind readable memory unmaps nothing',
  { covers: [UNMAP_KEY, VFIO_IOMMU_UNMAP_DMA.fails('EFAULT')], source: UNMAP_DMA },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const argument = memory({ size: 2 * 4096, kind: '4k' });
    expect(sys.munmap(argument.address + PAGE, 4096)).toBe(0);
    mapExtents(container, ram, [[0, 1]]);
    startDirtyTracking(container);
    const before = mappingState(container);
    const head = vfio_iommu_type1_dma_unmap.encode({
      argsz: vfio_iommu_type1_dma_unmap.size + vfio_bitmap.size,
      flags: VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
      ...range(0, 1),
    });
    for (const readable of [0, 8, vfio_bitmap.size - 1]) {
      const at = 4096 - head.length - readable;
      argument.write(at, head);
      const address = argument.address + BigInt(at);
      expect(ioctl(container.fd, VFIO_IOMMU_UNMAP_DMA, address)).toFailWith('EFAULT');
    }
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma(range(0, 1))).toBe(PAGE);
  },
);
