import {
  Program,
  ROOT,
  SIGKILL,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  addMapDma,
  addUnmapDma,
  containerUser,
  execAgain,
  expect,
  lockedMemory,
  mappingState,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const SIZE = 4n * 4096n;
const KIB = 16;
const IOVA = 0x100000n;
const ACCOUNT = 'drivers/vfio/vfio_iommu_type1.c vfio_lock_acct()';
const REMOVE = 'drivers/vfio/vfio_iommu_type1.c vfio_remove_dma()';
const options = { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: [ACCOUNT, REMOVE] };
const NOTHING = { VmLck: 0, VmPin: 0 };

test(
  'container.locked-memory.of-the-mapper',
  'memory is counted on the process that maps it, and on no other user of the container',
  options,
  (context) => {
    const other = containerUser(context);
    const before = lockedMemory();
    other.mapDma({ iova: IOVA, vaddr: other.memory(4 * PAGE), size: SIZE });
    expect(other.locked()).toEqual({ VmLck: KIB, VmPin: 0 });
    expect(lockedMemory()).toEqual(before);
    expect(other.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    expect(other.locked()).toEqual(NOTHING);
  },
);

test(
  'container.locked-memory.unmapped-by-another',
  'when another process unmaps, the memory of the mapping process is unlocked',
  options,
  (context) => {
    const { container } = context;
    const other = containerUser(context);
    const before = lockedMemory();
    other.mapDma({ iova: IOVA, vaddr: other.memory(4 * PAGE), size: SIZE });
    expect(container.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    expect(other.locked()).toEqual(NOTHING);
    expect(lockedMemory()).toEqual(before);

    const ram = context.memory({ size: 4 * PAGE, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: SIZE });
    expect(lockedMemory().VmLck).toBe(before.VmLck + KIB);
    expect(other.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    expect(lockedMemory()).toEqual(before);
    expect(other.locked()).toEqual(NOTHING);
  },
);

test(
  'container.locked-memory.two-mappers',
  'one unmap of the mappings of two processes unlocks the memory of each',
  options,
  (context) => {
    const { container, memory } = context;
    const other = containerUser(context);
    const before = lockedMemory();
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: SIZE });
    other.mapDma({ iova: 2n * IOVA, vaddr: other.memory(8 * PAGE), size: 2n * SIZE });
    expect(lockedMemory().VmLck).toBe(before.VmLck + KIB);
    expect(other.locked().VmLck).toBe(2 * KIB);
    const all = { iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL };
    expect(container.unmapDma(all)).toBe(3n * SIZE);
    expect(lockedMemory()).toEqual(before);
    expect(other.locked()).toEqual(NOTHING);
  },
);

test(
  'container.locked-memory.mapper-is-gone',
  'the mapping of a process that has ended can be unmapped, and counts on nobody',
  options,
  (context) => {
    const { container } = context;
    const other = containerUser(context);
    const before = mappingState(container);
    other.mapDma({ iova: IOVA, vaddr: other.memory(4 * PAGE), size: SIZE });
    other.actor.kill(SIGKILL);
    expect(container.dmaAvail()).toBe(before.dmaAvail! - 1);
    const map = { iova: IOVA, vaddr: 0n, size: SIZE };
    expect(container.tryMapDma(map)).toFailWith('EEXIST');
    expect(container.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.locked-memory.fork',
  'a child begins with no locked memory, and its unmap unlocks the memory of its parent',
  options,
  (context) => {
    const other = containerUser(context);
    const vaddr = other.memory(4 * PAGE);
    const program = new Program();
    const map = addMapDma(program, context.container.fd, { iova: IOVA, vaddr, size: SIZE });
    const status = program.data(32 * 1024);
    let unmap!: ReturnType<typeof addUnmapDma>;
    const child = program.fork(() => {
      const path = program.data('/proc/self/status');
      const fd = program.syscall('openat', -100, path, 0, 0);
      program.syscall('read', fd, status, status.length);
      unmap = addUnmapDma(program, context.container.fd, { iova: IOVA, size: SIZE });
    });
    program.syscall('wait4', child, 0, 0, 0);
    other.actor.run(program);
    expect(program.result(map)).toBe(0);
    expect(program.result(child)).toBeGreaterThan(0);
    expect(status.bytes.toString('latin1')).toMatch(/^VmLck:\s+0 kB$/m);
    expect(program.result(unmap.ref)).toBe(0);
    expect(unmap.size()).toBe(SIZE);
    expect(other.locked()).toEqual(NOTHING);
  },
);

test(
  'container.locked-memory.child-maps',
  'what a child maps counts on the child, and stays mapped when the child has ended',
  options,
  (context) => {
    const { container } = context;
    const other = containerUser(context);
    const vaddr = other.memory(4 * PAGE);
    const before = mappingState(container);
    const program = new Program();
    let map!: ReturnType<typeof addMapDma>;
    const child = program.fork(() => {
      map = addMapDma(program, container.fd, { iova: IOVA, vaddr, size: SIZE });
    });
    program.syscall('wait4', child, 0, 0, 0);
    other.actor.run(program);
    expect(program.result(map)).toBe(0);
    expect(other.locked()).toEqual(NOTHING);
    expect(container.dmaAvail()).toBe(before.dmaAvail! - 1);
    expect(other.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    expect(other.locked()).toEqual(NOTHING);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.locked-memory.exec',
  'after exec, unmapping the mappings of before takes nothing from the new program',
  { ...options, fixes: ['CVE-2023-53171'] },
  (context) => {
    const { container } = context;
    const other = containerUser(context);
    other.mapDma({ iova: IOVA, vaddr: other.memory(4 * PAGE), size: SIZE });
    other.mapDma({ iova: 2n * IOVA, vaddr: other.memory(4 * PAGE), size: SIZE });
    execAgain(other.actor);
    expect(other.locked()).toEqual(NOTHING);
    expect(other.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    expect(other.locked()).toEqual(NOTHING);
    const vaddr = other.memory(4 * PAGE);
    other.mapDma({ iova: IOVA, vaddr, size: SIZE });
    expect(other.locked()).toEqual({ VmLck: KIB, VmPin: 0 });
    expect(container.unmapDma({ iova: 2n * IOVA, size: SIZE })).toBe(SIZE);
    expect(other.locked()).toEqual({ VmLck: KIB, VmPin: 0 });
    expect(other.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    expect(other.locked()).toEqual(NOTHING);
  },
);

test(
  'container.locked-memory.exec-with-limit',
  'after exec and unmap, a process may lock as much as its limit allows, not less and not more',
  {
    ...options,
    fixes: ['CVE-2023-53171'],
    needs: [ROOT],
    provokes: [/RLIMIT_MEMLOCK \(\d+\) exceeded/],
  },
  (context) => {
    const other = containerUser(context, 4 * PAGE);
    other.mapDma({ iova: IOVA, vaddr: other.memory(4 * PAGE), size: SIZE });
    execAgain(other.actor);
    expect(other.unmapDma({ iova: IOVA, size: SIZE })).toBe(SIZE);
    const vaddr = other.memory(5 * PAGE);
    const tooMuch = { iova: IOVA, vaddr, size: SIZE + BigInt(PAGE) };
    expect(other.tryMapDma(tooMuch)).toFailWith('ENOMEM');
    expect(other.tryMapDma({ ...tooMuch, size: SIZE })).toSucceed(0);
    expect(other.locked().VmLck).toBe(KIB);
  },
);
