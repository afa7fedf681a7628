import {
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_UNMAP_DMA,
  IOMMU_FAULT,
  dmaProbe,
  expect,
  setBits,
  startDirtyTracking,
  test,
  tryGetDirtyBitmap,
  tryUnmapWithBitmap,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const BASE = 0x100000n;
const RANGE = { iova: BASE, size: 64n * P };
const UPDATE = 'drivers/vfio/vfio_iommu_type1.c update_user_bitmap()';
const GET = VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP');
const UNMAP = VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP');

test(
  'container.dma-dirty.written',
  'every page that a device wrote is in the bitmap, also what it wrote since the last one was read',
  { covers: [GET], source: UPDATE, device: 'nvme' },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 64 * PAGE, kind: '4k' });
    const probe = dmaProbe(context);
    container.mapDma({ ...RANGE, vaddr: ram.address });
    startDirtyTracking(container);
    for (const pages of [
      [0, 1, 63],
      [5, 31, 32],
      [62, 63],
    ]) {
      probe.write(1, ...pages.map((page) => BASE + BigInt(page) * P));
      const answer = tryGetDirtyBitmap(container, RANGE);
      expect(answer).toSucceed(0);
      expect(setBits(answer.value.bitmap)).toEqual(expect.arrayContaining(pages));
    }
  },
);

test(
  'container.dma-dirty.before-tracking',
  'what a device wrote before tracking began is in the first bitmap',
  {
    covers: [GET],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_bitmap_alloc_all()',
    device: 'nvme',
  },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 64 * PAGE, kind: '4k' });
    const probe = dmaProbe(context);
    container.mapDma({ ...RANGE, vaddr: ram.address });
    probe.write(1, BASE + 17n * P);
    startDirtyTracking(container);
    const answer = tryGetDirtyBitmap(container, RANGE);
    expect(setBits(answer.value.bitmap)).toContain(17);
  },
);

test(
  'container.dma-dirty.unmap',
  'an unmap with a bitmap names every page that the device wrote, and ends its access',
  { covers: [UNMAP], source: UPDATE, device: 'nvme', provokes: [IOMMU_FAULT] },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 64 * PAGE, kind: '4k' });
    const probe = dmaProbe(context);
    container.mapDma({ ...RANGE, vaddr: ram.address });
    startDirtyTracking(container);
    ram.fill(1);
    probe.write(2, BASE, BASE + 40n * P);
    const answer = tryUnmapWithBitmap(container, RANGE);
    expect(answer).toSucceed(0);
    expect(answer.value.unmapped).toBe(RANGE.size);
    expect(setBits(answer.value.bitmap)).toEqual(expect.arrayContaining([0, 40]));
    probe.write(3, BASE + P);
    expect(ram.verify(2, 40 * PAGE, 512)).toBe(-1);
    expect(ram.verify(1, PAGE, 39 * PAGE, PAGE)).toBe(-1);
    expect(ram.verify(1, 41 * PAGE, 23 * PAGE, 41 * PAGE)).toBe(-1);
  },
);

test(
  'container.dma-dirty.undisturbed',
  'starting, reading and unmapping under dirty tracking disturb no other mapping of the device',
  { covers: [GET, UNMAP], source: UPDATE, device: 'nvme' },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    const probe = dmaProbe(context);
    const flags = VFIO_DMA_MAP_FLAG_READ;
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * P, flags });
    container.mapDma({ iova: BASE + 64n * P, vaddr: ram.address + 2n * P, size: 2n * P });
    ram.fill(1);
    const places = [0n, 1n, 64n, 65n].map((page, index) => ({
      iova: BASE + page * P,
      phase: index * PAGE,
    }));
    startDirtyTracking(container);
    expect(probe.misses(1, places)).toEqual([]);
    expect(tryGetDirtyBitmap(container, RANGE)).toSucceed(0);
    expect(probe.misses(1, places)).toEqual([]);
    expect(tryUnmapWithBitmap(container, RANGE).value.unmapped).toBe(2n * P);
    expect(probe.misses(1, places.slice(2))).toEqual([]);
  },
);
