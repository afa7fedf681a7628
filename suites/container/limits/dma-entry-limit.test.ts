import {
  OWN_MACHINE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
  expect,
  lockedMemory,
  moduleParameter,
  setModuleParameter,
  test,
  type Container,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const REMOVE = 'drivers/vfio/vfio_iommu_type1.c vfio_remove_dma()';
const OPEN = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_open()';
const DMA_AVAIL = VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL');
const MODULE = 'vfio_iommu_type1';

/** A container that allows `limit` mappings; containers opened afterwards have the usual limit. */
function limited({ containerOfType, defer }: TestContext, limit: number): Container {
  const restore = setModuleParameter(MODULE, 'dma_entry_limit', String(limit));
  defer(restore);
  const container = containerOfType(VFIO_TYPE1v2_IOMMU);
  restore();
  return container;
}

const at = (index: number | bigint) => 0x100000n + BigInt(index) * 2n * PAGE;

test(
  'container.dma-avail.initial',
  'a new container may make as many mappings as dma_entry_limit says',
  { covers: [DMA_AVAIL], source: OPEN },
  ({ container }) => {
    expect(container.dmaAvail()).toBe(Number(moduleParameter(MODULE, 'dma_entry_limit')));
  },
);

test(
  'container.dma-avail.default',
  'dma_entry_limit is 65535 unless told otherwise',
  {
    covers: [DMA_AVAIL],
    source: 'drivers/vfio/vfio_iommu_type1.c dma_entry_limit',
    needs: [OWN_MACHINE],
  },
  ({ container }) => {
    expect(container.dmaAvail()).toBe(65535);
  },
);

test(
  'container.dma-avail.counts',
  'each mapping takes one from DMA_AVAIL whatever its size, each unmapped mapping gives one back',
  { covers: [DMA_AVAIL, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: [DO_MAP, REMOVE] },
  ({ container, memory }) => {
    const ram = memory({ size: 16 * 4096, kind: '4k' });
    const limit = container.dmaAvail()!;
    container.mapDma({ iova: 0n, vaddr: ram.address, size: 16n * PAGE });
    expect(container.dmaAvail()).toBe(limit - 1);
    for (let index = 0; index < 5; index++) {
      container.mapDma({ iova: at(index), vaddr: ram.address, size: PAGE });
      expect(container.dmaAvail()).toBe(limit - 2 - index);
    }
    container.unmapDma({ iova: at(4), size: PAGE });
    expect(container.dmaAvail()).toBe(limit - 5);
    container.unmapDma({ iova: at(1), size: at(4) - at(1) });
    expect(container.dmaAvail()).toBe(limit - 2);
    container.unmapDma({ iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL });
    expect(container.dmaAvail()).toBe(limit);
  },
);

test(
  'container.dma-avail.refused',
  'a refused mapping takes nothing from DMA_AVAIL, an unmap of nothing gives nothing back',
  { covers: [DMA_AVAIL], source: [DO_MAP, REMOVE] },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: at(0), vaddr: ram.address, size: PAGE });
    const avail = container.dmaAvail();
    for (const { map, errno } of [
      { map: { iova: at(0), vaddr: ram.address, size: PAGE }, errno: 'EEXIST' },
      { map: { iova: at(1), vaddr: 0n, size: PAGE }, errno: 'EFAULT' },
      { map: { iova: at(1), vaddr: ram.address, size: 1n }, errno: 'EINVAL' },
    ]) {
      expect(container.tryMapDma(map)).toFailWith(errno);
      expect(container.dmaAvail()).toBe(avail);
    }
    // Reserved for interrupts on x86.
    const doorbell = 0xfee00000n;
    const answer = container.tryMapDma({ iova: doorbell, vaddr: ram.address, size: PAGE });
    if (answer.ok) container.unmapDma({ iova: doorbell, size: PAGE });
    else expect(answer).toFailWith('EINVAL');
    expect(container.dmaAvail()).toBe(avail);
    expect(container.unmapDma({ iova: at(7), size: PAGE })).toBe(0n);
    expect(container.tryUnmapDma({ iova: at(0), size: 1n })).toFailWith('EINVAL');
    expect(container.dmaAvail()).toBe(avail);
  },
);

test(
  'container.dma-entry-limit.exact',
  'a container takes exactly dma_entry_limit mappings; the next one is refused with ENOSPC',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('ENOSPC'), DMA_AVAIL],
    source: DO_MAP,
    fixes: ['CVE-2019-3882'],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const LIMIT = 8;
    const container = limited(context, LIMIT);
    const ram = context.memory({ size: 4096, kind: '4k' });
    expect(container.dmaAvail()).toBe(LIMIT);
    for (let index = 0; index < LIMIT; index++) {
      const map = { iova: at(index), vaddr: ram.address, size: PAGE };
      expect(container.tryMapDma(map)).toSucceed(0);
      expect(container.dmaAvail()).toBe(LIMIT - index - 1);
    }
    const { VmLck } = lockedMemory();
    for (const iova of [at(LIMIT), 0n]) {
      expect(container.tryMapDma({ iova, vaddr: ram.address, size: PAGE })).toFailWith('ENOSPC');
    }
    expect(lockedMemory().VmLck).toBe(VmLck);
    expect(container.dmaAvail()).toBe(0);
    const all = { iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL };
    expect(container.unmapDma(all)).toBe(BigInt(LIMIT) * PAGE);
  },
);

test(
  'container.dma-entry-limit.recovers',
  'after an unmap at the limit, one mapping can be made again, and only one',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('ENOSPC'), DMA_AVAIL],
    source: [DO_MAP, REMOVE],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const container = limited(context, 3);
    const ram = context.memory({ size: 4096, kind: '4k' });
    const map = (index: number) =>
      container.tryMapDma({ iova: at(index), vaddr: ram.address, size: PAGE });
    for (let index = 0; index < 3; index++) expect(map(index)).toSucceed(0);
    for (let round = 0; round < 3; round++) {
      expect(map(3)).toFailWith('ENOSPC');
      container.unmapDma({ iova: at(1), size: PAGE });
      expect(container.dmaAvail()).toBe(1);
      expect(map(1)).toSucceed(0);
      expect(container.dmaAvail()).toBe(0);
    }
  },
);

test(
  'container.dma-entry-limit.failed-mapping',
  'a mapping that failed at the limit leaves its place to the next one',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT'), DMA_AVAIL],
    source: [DO_MAP, REMOVE],
    needs: [OWN_MACHINE],
  },
  (context) => {
    const container = limited(context, 1);
    const ram = context.memory({ size: 4096, kind: '4k' });
    for (let round = 0; round < 3; round++) {
      expect(container.tryMapDma({ iova: at(0), vaddr: 0n, size: PAGE })).toFailWith('EFAULT');
      expect(container.dmaAvail()).toBe(1);
    }
    expect(container.tryMapDma({ iova: at(0), vaddr: ram.address, size: PAGE })).toSucceed(0);
  },
);

test(
  'container.dma-entry-limit.overlap-first',
  'at the limit a mapping that overlaps another is still told so',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EEXIST')], source: DO_MAP, needs: [OWN_MACHINE] },
  (context) => {
    const container = limited(context, 1);
    const ram = context.memory({ size: 4096, kind: '4k' });
    const map = { iova: at(0), vaddr: ram.address, size: PAGE };
    container.mapDma(map);
    expect(container.tryMapDma(map)).toFailWith('EEXIST');
    expect(container.tryMapDma({ ...map, iova: at(1) })).toFailWith('ENOSPC');
  },
);

test(
  'container.dma-entry-limit.zero',
  'with dma_entry_limit 0 a container takes no mapping at all',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('ENOSPC')], source: [DO_MAP, OPEN], needs: [OWN_MACHINE] },
  (context) => {
    const container = limited(context, 0);
    const ram = context.memory({ size: 4096, kind: '4k' });
    expect(container.dmaAvail()).toBe(0);
    const map = { iova: at(0), vaddr: ram.address, size: PAGE };
    expect(container.tryMapDma(map)).toFailWith('ENOSPC');
  },
);

test(
  'container.dma-entry-limit.per-container',
  'the limit is taken when the IOMMU is set: a later change does not touch the container',
  { covers: [DMA_AVAIL], source: OPEN, needs: [OWN_MACHINE] },
  ({ container, defer }) => {
    const before = container.dmaAvail();
    defer(setModuleParameter(MODULE, 'dma_entry_limit', '2'));
    expect(container.dmaAvail()).toBe(before);
  },
);

test(
  'container.dma-entry-limit.large',
  'dma_entry_limit may be more than 16 bits hold',
  { covers: [DMA_AVAIL], source: OPEN, needs: [OWN_MACHINE] },
  (context) => {
    const container = limited(context, 100_000);
    const ram = context.memory({ size: 4096, kind: '4k' });
    expect(container.dmaAvail()).toBe(100_000);
    container.mapDma({ iova: at(0), vaddr: ram.address, size: PAGE });
    expect(container.dmaAvail()).toBe(99_999);
  },
);

test(
  'container.dma-entry-limit.fresh-after-last-group',
  'a container whose IOMMU is set anew has all its mappings again, under the limit of that moment',
  { covers: [DMA_AVAIL], source: OPEN, needs: [OWN_MACHINE] },
  (context) => {
    const container = limited(context, 2);
    const ram = context.memory({ size: 4096, kind: '4k' });
    for (const index of [0, 1]) {
      container.mapDma({ iova: at(index), vaddr: ram.address, size: PAGE });
    }
    expect(container.dmaAvail()).toBe(0);
    context.openGroup().unsetContainer();
    context.openGroup().setContainer(container);
    container.setIommu(VFIO_TYPE1v2_IOMMU);
    expect(container.dmaAvail()).toBe(Number(moduleParameter(MODULE, 'dma_entry_limit')));
    const map = { iova: at(0), vaddr: ram.address, size: PAGE };
    expect(container.tryMapDma(map)).toSucceed(0);
  },
);
