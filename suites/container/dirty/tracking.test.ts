import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  expect,
  ioctl,
  setBits,
  startDirtyTracking,
  sys,
  test,
  tryDirtyPages,
  tryGetDirtyBitmap,
  vfio_iommu_type1_dirty_bitmap,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const BASE = 0x100000n;
const START = VFIO_IOMMU_DIRTY_PAGES_FLAG_START;
const STOP = VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP;
const GET = VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP;
const DIRTY = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_dirty_pages()';
const START_KEY = VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_START');
const STOP_KEY = VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP');
const GET_KEY = VFIO_IOMMU_DIRTY_PAGES.flag('VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP');
const EINVAL = VFIO_IOMMU_DIRTY_PAGES.fails('EINVAL');

test(
  'container.dirty.v1',
  'a v1 container does not track dirty pages',
  { covers: [VFIO_IOMMU_DIRTY_PAGES.fails('EACCES')], source: DIRTY },
  ({ containerOfType }) => {
    const container = containerOfType(VFIO_TYPE1_IOMMU);
    for (const flags of [START, STOP, 0, 0xff]) {
      expect(tryDirtyPages(container, flags)).toFailWith('EACCES');
    }
    const request = { iova: 0n, size: PAGE };
    expect(tryGetDirtyBitmap(container, request)).toFailWith('EACCES');
  },
);

test(
  'container.dirty.argsz',
  'an argsz below the fixed part is refused, a longer one is taken',
  { covers: [EINVAL, START_KEY], source: DIRTY },
  ({ container }) => {
    const size = vfio_iommu_type1_dirty_bitmap.size;
    for (const argsz of [0, 4, size - 1]) {
      expect(tryDirtyPages(container, START, argsz)).toFailWith('EINVAL');
    }
    // None of them has started anything.
    expect(tryGetDirtyBitmap(container, { iova: 0n, size: PAGE })).toFailWith('EINVAL');
    expect(tryDirtyPages(container, START, size)).toSucceed(0);
    expect(tryDirtyPages(container, STOP, 64)).toSucceed(0);
  },
);

test(
  'container.dirty.flags',
  'unknown flags, no flag and several flags at once are refused',
  { covers: [EINVAL], source: DIRTY },
  ({ container }) => {
    for (let bit = 3; bit < 32; bit++) {
      expect(tryDirtyPages(container, (1 << bit) >>> 0)).toFailWith('EINVAL');
      expect(tryDirtyPages(container, (START | (1 << bit)) >>> 0)).toFailWith('EINVAL');
    }
    for (const flags of [0, START | STOP, START | GET, STOP | GET, START | STOP | GET]) {
      expect(tryDirtyPages(container, flags, 56)).toFailWith('EINVAL');
    }
    expect(tryGetDirtyBitmap(container, { iova: 0n, size: PAGE })).toFailWith('EINVAL');
  },
);

test(
  'container.dirty.bad-pointer',
  'an argument that cannot be read is answered with EFAULT',
  { covers: [VFIO_IOMMU_DIRTY_PAGES.fails('EFAULT')], source: DIRTY },
  ({ container, memory }) => {
    expect(ioctl(container.fd, VFIO_IOMMU_DIRTY_PAGES, 0n)).toFailWith('EFAULT');
    // The fixed part is readable, what follows is not.
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    sys.munmap(ram.address + PAGE, 4096);
    const header = vfio_iommu_type1_dirty_bitmap.encode({ argsz: 56, flags: GET });
    ram.write(4096 - header.length, header);
    const address = ram.address + PAGE - BigInt(header.length);
    expect(ioctl(container.fd, VFIO_IOMMU_DIRTY_PAGES, address)).toFailWith('EFAULT');
  },
);

test(
  'container.dirty.idempotent',
  'starting twice and stopping twice succeed; tracking is on or off',
  { covers: [START_KEY, STOP_KEY], source: DIRTY },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    const request = { iova: BASE, size: PAGE };
    expect(tryDirtyPages(container, STOP)).toSucceed(0);
    expect(tryGetDirtyBitmap(container, request)).toFailWith('EINVAL');
    startDirtyTracking(container);
    startDirtyTracking(container);
    expect(tryGetDirtyBitmap(container, request)).toSucceed(0);
    expect(tryDirtyPages(container, STOP)).toSucceed(0);
    expect(tryGetDirtyBitmap(container, request)).toFailWith('EINVAL');
    expect(tryDirtyPages(container, STOP)).toSucceed(0);
    startDirtyTracking(container);
    const again = tryGetDirtyBitmap(container, request);
    expect(again).toSucceed(0);
    expect(setBits(again.value.bitmap)).toEqual([0]);
  },
);

test(
  'container.dirty.last-group-leaves',
  'tracking ends with the IOMMU: a new one does not track',
  {
    covers: [GET_KEY, EINVAL],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_release()',
  },
  ({ container, openGroup }) => {
    startDirtyTracking(container);
    openGroup().unsetContainer();
    expect(tryDirtyPages(container, STOP)).toFailWith('EINVAL');
    openGroup().setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(tryGetDirtyBitmap(container, { iova: 0n, size: PAGE })).toFailWith('EINVAL');
    startDirtyTracking(container);
  },
);
