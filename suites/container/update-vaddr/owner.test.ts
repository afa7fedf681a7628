import {
  ROOT,
  SIGKILL,
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_MAP_DMA,
  containerUser,
  enableDevice,
  execAgain,
  expect,
  lockedMemory,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const SIZE = 4n * 4096n;
const KIB = 16;
const IOVA = 0x100000n;
const OWNER = 'drivers/vfio/vfio_iommu_type1.c vfio_change_dma_owner()';
const NOTHING = { VmLck: 0, VmPin: 0 };
const RANGE = { iova: IOVA, size: SIZE };
const INVALIDATE = { ...RANGE, flags: VFIO_DMA_UNMAP_FLAG_VADDR };
const options = {
  covers: [VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_VADDR')],
  source: OWNER,
  needs: [ROOT],
  provokes: [/RLIMIT_MEMLOCK/],
};

const restore = (vaddr: bigint) => ({ ...RANGE, vaddr, flags: VFIO_DMA_MAP_FLAG_VADDR });

test(
  'container.update-vaddr.owner.moves',
  'the locked memory of a mapping moves to the process that gives it its new vaddr',
  options,
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    const heir = containerUser(context);
    const before = lockedMemory();
    container.mapDma({ ...RANGE, vaddr: ram.address });
    expect(container.unmapDma(INVALIDATE)).toBe(SIZE);
    expect(lockedMemory().VmLck).toBe(before.VmLck + KIB);
    expect(heir.tryMapDma(restore(heir.memory(4 * PAGE)))).toSucceed(0);
    expect(lockedMemory()).toEqual(before);
    expect(heir.locked()).toEqual({ VmLck: KIB, VmPin: 0 });
    expect(container.unmapDma(RANGE)).toBe(SIZE);
    expect(heir.locked()).toEqual(NOTHING);
    expect(lockedMemory()).toEqual(before);
  },
);

test(
  'container.update-vaddr.owner.same-process',
  'a process that gives its own mapping a new vaddr keeps its locked memory as it is',
  options,
  (context) => {
    const owner = containerUser(context, 4 * PAGE);
    owner.mapDma({ ...RANGE, vaddr: owner.memory(4 * PAGE) });
    expect(owner.unmapDma(INVALIDATE)).toBe(SIZE);
    // The limit is used up: counting anew would fail.
    expect(owner.tryMapDma(restore(owner.memory(4 * PAGE)))).toSucceed(0);
    expect(owner.locked()).toEqual({ VmLck: KIB, VmPin: 0 });
    expect(owner.unmapDma(RANGE)).toBe(SIZE);
    expect(owner.locked()).toEqual(NOTHING);
  },
);

test(
  'container.update-vaddr.owner.limit',
  'a process whose limit is too small cannot take over a mapping, which stays as it was',
  { ...options, covers: [...options.covers, VFIO_IOMMU_MAP_DMA.fails('ENOMEM')] },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    const poor = containerUser(context, 4 * PAGE - 1);
    const rich = containerUser(context, 4 * PAGE);
    const before = lockedMemory();
    container.mapDma({ ...RANGE, vaddr: ram.address });
    expect(container.unmapDma(INVALIDATE)).toBe(SIZE);
    expect(poor.tryMapDma(restore(poor.memory(4 * PAGE)))).toFailWith('ENOMEM');
    expect(poor.locked()).toEqual(NOTHING);
    expect(lockedMemory().VmLck).toBe(before.VmLck + KIB);
    expect(rich.tryMapDma(restore(rich.memory(4 * PAGE)))).toSucceed(0);
    expect(rich.locked().VmLck).toBe(KIB);
    expect(lockedMemory()).toEqual(before);
    expect(container.unmapDma(RANGE)).toBe(SIZE);
    expect(rich.locked()).toEqual(NOTHING);
  },
);

test(
  'container.update-vaddr.owner.exec',
  'after exec a process gives its mappings new vaddrs, and they count on the new program',
  { ...options, fixes: ['CVE-2023-53171'] },
  (context) => {
    const owner = containerUser(context, 4 * PAGE);
    owner.mapDma({ ...RANGE, vaddr: owner.memory(4 * PAGE) });
    expect(owner.unmapDma(INVALIDATE)).toBe(SIZE);
    execAgain(owner.actor);
    expect(owner.locked()).toEqual(NOTHING);
    expect(owner.tryMapDma(restore(owner.memory(4 * PAGE)))).toSucceed(0);
    expect(owner.locked()).toEqual({ VmLck: KIB, VmPin: 0 });
    expect(owner.unmapDma(RANGE)).toBe(SIZE);
    expect(owner.locked()).toEqual(NOTHING);
  },
);

test(
  'container.update-vaddr.owner.gone',
  'the mapping of a process that has ended is taken over by another one',
  options,
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    const old = containerUser(context);
    const before = lockedMemory();
    old.mapDma({ ...RANGE, vaddr: old.memory(4 * PAGE) });
    expect(container.unmapDma(INVALIDATE)).toBe(SIZE);
    old.actor.kill(SIGKILL);
    expect(container.tryMapDma(restore(ram.address))).toSucceed(0);
    expect(lockedMemory().VmLck).toBe(before.VmLck + KIB);
    expect(container.unmapDma(RANGE)).toBe(SIZE);
    expect(lockedMemory()).toEqual(before);
  },
);

test(
  'container.update-vaddr.owner.each-mapping',
  'of two mappings the one taken over counts on its new owner, the other on the old one',
  options,
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    const heir = containerUser(context);
    const before = lockedMemory();
    container.mapDma({ ...RANGE, vaddr: ram.address });
    container.mapDma({ iova: 2n * IOVA, vaddr: ram.address, size: 2n * BigInt(PAGE) });
    expect(container.unmapDma(INVALIDATE)).toBe(SIZE);
    expect(heir.tryMapDma(restore(heir.memory(4 * PAGE)))).toSucceed(0);
    expect(heir.locked().VmLck).toBe(KIB);
    expect(lockedMemory().VmLck).toBe(before.VmLck + KIB / 2);
    container.unmapDma({ iova: 2n * IOVA, size: 2n * BigInt(PAGE) });
    expect(lockedMemory()).toEqual(before);
    expect(heir.locked().VmLck).toBe(KIB);
    container.unmapDma(RANGE);
    expect(heir.locked()).toEqual(NOTHING);
  },
);

test(
  'container.update-vaddr.owner.device-memory',
  'a process that may lock nothing takes over the mapping of device memory, which counts on nobody',
  { ...options, device: 'edu', uses: ['ivshmem'], since: '7.3' },
  (context) => {
    const { container } = context;
    const { device } = context.openRole('ivshmem');
    enableDevice(device);
    const bar = context.map(device.region(2));
    const range = { iova: IOVA, size: bar.size };
    const heir = containerUser(context, 0);
    const before = lockedMemory();
    container.mapDma({ ...range, vaddr: bar.address });
    expect(container.unmapDma({ ...range, flags: VFIO_DMA_UNMAP_FLAG_VADDR })).toBe(bar.size);
    const taken = { ...range, vaddr: heir.memory(PAGE), flags: VFIO_DMA_MAP_FLAG_VADDR };
    expect(heir.tryMapDma(taken)).toSucceed(0);
    expect(heir.locked()).toEqual(NOTHING);
    expect(lockedMemory()).toEqual(before);
    expect(container.unmapDma(range)).toBe(bar.size);
    expect(heir.locked()).toEqual(NOTHING);
    expect(lockedMemory()).toEqual(before);
  },
);
