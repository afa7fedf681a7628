import {
  MDPY,
  VFIO_CHECK_EXTENSION,
  VFIO_DMA_CC_IOMMU,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  VFIO_UPDATE_VADDR,
  expect,
  lockedMemory,
  mappingState,
  mediated,
  openMediatedGroup,
  setBits,
  startDirtyTracking,
  stopDirtyTracking,
  test,
  tryDirtyPages,
  tryGetDirtyBitmap,
  type Container,
  type Group,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const IOVA = 0x100000n;
const ATTACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()';
const DETACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_detach_group()';
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const needs = [mediated(MDPY)];

/** A container with nothing in it but the group of a mediated device: no hardware IOMMU is used. */
function mediatedContainer(context: TestContext): { container: Container; group: Group } {
  const group = openMediatedGroup(context, MDPY);
  const container = context.containerWith(group);
  return { container, group };
}

test(
  'container.mediated.get-info',
  'where only mediated devices are, every multiple of a page can be mapped, and at every IOVA',
  {
    covers: [VFIO_IOMMU_GET_INFO],
    source: [
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_open()',
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_iova_build_caps()',
    ],
    needs,
  },
  (context) => {
    const { container } = mediatedContainer(context);
    expect(container.getInfo().iova_pgsizes).toBe(BigInt.asUintN(64, -PAGE));
    expect(container.iovaRanges()).toEqual([]);
  },
);

test(
  'container.mediated.map',
  'memory that only mediated devices use is neither pinned nor counted, but the mapping is there',
  { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: DO_MAP, needs },
  (context) => {
    const { container } = mediatedContainer(context);
    const ram = context.memory({ size: 4 * 4096, kind: '4k' });
    const before = mappingState(container);
    const map = { iova: IOVA, vaddr: ram.address, size: 4n * PAGE };
    expect(container.tryMapDma(map)).toSucceed(0);
    expect(mappingState(container)).toEqual({ ...before, dmaAvail: before.dmaAvail! - 1 });
    expect(container.tryMapDma(map)).toFailWith('EEXIST');
    expect(container.tryUnmapDma({ iova: IOVA, size: PAGE })).toFailWith('EINVAL');
    expect(container.unmapDma({ iova: IOVA, size: 4n * PAGE })).toBe(4n * PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.mediated.map-anything',
  'memory that only mediated devices use is looked at when they use it, and its IOVA is free',
  {
    covers: [VFIO_IOMMU_MAP_DMA],
    source: [DO_MAP, 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_iova_dma_valid()'],
    needs,
  },
  (context) => {
    const { container } = mediatedContainer(context);
    // Where interrupts are, where no IOMMU reaches, and the last page that there is.
    for (const iova of [0xfee00000n, 1n << 60n, (1n << 64n) - PAGE]) {
      expect(container.tryMapDma({ iova, vaddr: PAGE, size: PAGE })).toSucceed(0);
      expect(container.unmapDma({ iova, size: PAGE })).toBe(PAGE);
    }
    expect(container.tryMapDma({ iova: 0n, vaddr: 0n, size: 1n << 50n })).toSucceed(0);
    container.mapDma({ iova: (1n << 64n) - PAGE, vaddr: PAGE, size: PAGE });
    const all = { iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL };
    expect(container.unmapDma(all)).toBe((1n << 50n) + PAGE);
  },
);

test(
  'container.mediated.update-vaddr',
  'where a mediated device is, addresses cannot be updated',
  {
    covers: [
      VFIO_CHECK_EXTENSION.value('VFIO_UPDATE_VADDR'),
      VFIO_IOMMU_UNMAP_DMA.fails('EBUSY'),
      VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_VADDR'),
    ],
    source: [DO_UNMAP, 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_check_extension()'],
    needs,
  },
  (context) => {
    const { container } = context;
    const ram = context.memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: PAGE });
    expect(container.checkExtension(VFIO_UPDATE_VADDR)).toBe(1);
    const group = openMediatedGroup(context, MDPY);
    group.setContainer(container);
    expect(container.checkExtension(VFIO_UPDATE_VADDR)).toBe(0);
    const invalidate = { iova: IOVA, size: PAGE, flags: VFIO_DMA_UNMAP_FLAG_VADDR };
    const answer = container.tryUnmapDma(invalidate);
    expect(answer).toFailWith('EBUSY');
    expect(answer.value).toBe(PAGE);
    group.unsetContainer();
    expect(container.checkExtension(VFIO_UPDATE_VADDR)).toBe(1);
    expect(container.unmapDma(invalidate)).toBe(PAGE);
    expect(group.trySetContainer(container)).toFailWith('EBUSY');
    expect(container.unmapDma({ iova: IOVA, size: PAGE })).toBe(PAGE);
    expect(group.trySetContainer(container)).toSucceed(0);
  },
);

test(
  'container.mediated.cache-coherency',
  'mediated devices alone are coherent with the caches',
  {
    covers: [VFIO_CHECK_EXTENSION.value('VFIO_DMA_CC_IOMMU')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_domains_have_enforce_cache_coherency()',
    needs,
  },
  (context) => {
    expect(mediatedContainer(context).container.checkExtension(VFIO_DMA_CC_IOMMU)).toBe(1);
  },
);

test(
  'container.mediated.dirty',
  'pages that no mediated device has pinned are not dirty',
  {
    covers: [VFIO_IOMMU_DIRTY_PAGES],
    source: 'drivers/vfio/vfio_iommu_type1.c update_user_bitmap()',
    needs,
  },
  (context) => {
    const { container } = mediatedContainer(context);
    const ram = context.memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 4n * PAGE });
    startDirtyTracking(container);
    const answer = tryGetDirtyBitmap(container, { iova: IOVA, size: 64n * PAGE });
    expect(answer).toSucceed(0);
    expect(setBits(answer.value.bitmap)).toEqual([]);
  },
);

test(
  'container.mediated.dirty.largest',
  'dirty pages are tracked of mappings of less than 2^31 pages',
  {
    covers: [VFIO_IOMMU_DIRTY_PAGES, VFIO_IOMMU_DIRTY_PAGES.fails('EINVAL')],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_bitmap_alloc()',
    needs,
  },
  (context) => {
    const { container } = mediatedContainer(context);
    const start = () => tryDirtyPages(container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
    // No memory is behind it, and none is asked for. A bitmap of 8 MiB.
    const large = { iova: 0n, vaddr: 0n, size: PAGE << 26n };
    const tooLarge = { iova: 1n << 50n, vaddr: 0n, size: PAGE << 31n };
    container.mapDma(large);
    expect(start()).toSucceed(0);
    const before = container.dmaAvail();
    expect(container.tryMapDma(tooLarge)).toFailWith('EINVAL');
    expect(container.dmaAvail()).toBe(before);
    expect(container.unmapDma(large)).toBe(large.size);
    stopDirtyTracking(container);
    container.mapDma(tooLarge);
    expect(start()).toFailWith('EINVAL');
    expect(container.unmapDma(tooLarge)).toBe(tooLarge.size);
    expect(start()).toSucceed(0);
  },
);

test(
  'container.mediated.last-leaves',
  'with the last mediated device the mappings go, and the container can be used anew',
  { covers: [VFIO_GROUP_UNSET_CONTAINER], source: DETACH, needs },
  (context) => {
    const { container, group } = mediatedContainer(context);
    const empty = mappingState(container);
    container.mapDma({ iova: IOVA, vaddr: PAGE, size: PAGE });
    group.unsetContainer();
    expect(container.tryGetInfo(64)).toFailWith('EINVAL');
    group.setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(mappingState(container)).toEqual(empty);
    expect(container.unmapDma({ iova: IOVA, size: PAGE })).toBe(0n);
  },
);

test(
  'container.mediated.one-of-two-leaves',
  'of two mediated devices one may leave: the mappings stay for the other',
  { covers: [VFIO_GROUP_UNSET_CONTAINER], source: DETACH, needs },
  (context) => {
    const { container, group } = mediatedContainer(context);
    const other = openMediatedGroup(context, MDPY);
    expect(other.trySetContainer(container)).toSucceed(0);
    container.mapDma({ iova: IOVA, vaddr: PAGE, size: PAGE });
    group.unsetContainer();
    expect(container.checkExtension(VFIO_UPDATE_VADDR)).toBe(0);
    expect(container.tryMapDma({ iova: IOVA, vaddr: PAGE, size: PAGE })).toFailWith('EEXIST');
    expect(container.unmapDma({ iova: IOVA, size: PAGE })).toBe(PAGE);
  },
);

test(
  'container.mediated.close',
  'a container that is closed with mediated devices and mappings in it leaves nothing behind',
  {
    covers: [VFIO_GROUP_SET_CONTAINER],
    source: ['drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_release()', ATTACH],
    needs,
  },
  (context) => {
    const locked = lockedMemory();
    const { container, group } = mediatedContainer(context);
    container.mapDma({ iova: IOVA, vaddr: PAGE, size: PAGE });
    container.close();
    group.close();
    expect(lockedMemory()).toEqual(locked);
    const again = context.emptyContainer();
    const reopened = context.openFreshGroup(group.number);
    expect(reopened.trySetContainer(again)).toSucceed(0);
    again.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(again.unmapDma({ iova: IOVA, size: PAGE })).toBe(0n);
  },
);
