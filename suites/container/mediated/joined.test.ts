import {
  VFIO_DMA_MAP_FLAG_VADDR,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  ContainerUser,
  MDPY,
  Program,
  ROOT,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  expect,
  mappingState,
  mediated,
  openMediatedGroup,
  setBits,
  startDirtyTracking,
  startEdu,
  sys,
  test,
  tryGetDirtyBitmap,
  type Container,
  type Group,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const IOVA = 0x100000n;
const ATTACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()';
const DETACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_detach_group()';
const REPLAY = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_replay()';
const REACCOUNT = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_unmap_unpin_reaccount()';
const options = { source: [ATTACH, REPLAY], device: 'edu', needs: [mediated(MDPY)] };

/** A container with a mediated device, and the group of the test's own device, not in it yet. */
function beside(context: TestContext): { container: Container; mediatedGroup: Group; edu: Group } {
  const mediatedGroup = openMediatedGroup(context, MDPY);
  const container = context.containerWith(mediatedGroup);
  return { container, mediatedGroup, edu: context.openGroup() };
}

test(
  'container.mediated.device-joins',
  'a device that joins a mediated one finds the memory that was mapped before, pinned and counted now',
  { ...options, covers: [VFIO_GROUP_SET_CONTAINER] },
  (context) => {
    const { container, edu } = beside(context);
    const ram = context.memory({ size: 4 * PAGE, kind: '4k' });
    const before = mappingState(container);
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 2n * P });
    container.mapDma({ iova: 2n * IOVA, vaddr: ram.address + 2n * P, size: 2n * P });
    edu.setContainer(container);
    expect(mappingState(container)).toEqual({
      ...before,
      VmLck: before.VmLck + 16,
      pinned: before.pinned === null ? null : before.pinned + 4,
      dmaAvail: before.dmaAvail! - 2,
    });
    const device = startEdu(context, context.openDevice(edu));
    ram.fill(1, PAGE, PAGE);
    device.readMemory(IOVA + P, PAGE);
    device.writeMemory(2n * IOVA + P, PAGE);
    expect(ram.verify(1, 3 * PAGE, PAGE)).toBe(-1);
    expect(container.unmapDma({ iova: 0n, size: 4n * IOVA })).toBe(4n * P);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.mediated.device-leaves',
  'when the last device but the mediated ones leaves, the mappings stay and their memory is released',
  {
    ...options,
    source: [DETACH, REACCOUNT],
    covers: [VFIO_GROUP_UNSET_CONTAINER],
  },
  (context) => {
    const { container, edu } = beside(context);
    const ram = context.memory({ size: 4 * PAGE, kind: '4k' });
    const before = mappingState(container);
    edu.setContainer(container);
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 3n * P });
    container.mapDma({ iova: 2n * IOVA, vaddr: ram.address + 3n * P, size: P });
    const mapped = mappingState(container);
    expect(mapped.VmLck).toBe(before.VmLck + 16);
    for (let round = 0; round < 2; round++) {
      edu.unsetContainer();
      expect(mappingState(container)).toEqual({ ...before, dmaAvail: before.dmaAvail! - 2 });
      edu.setContainer(container);
      expect(mappingState(container)).toEqual(mapped);
    }
    edu.unsetContainer();
    const again = { iova: IOVA, vaddr: ram.address, size: P };
    expect(container.tryMapDma(again)).toFailWith('EEXIST');
    expect(container.unmapDma({ iova: 0n, size: 4n * IOVA })).toBe(4n * P);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.mediated.mediated-leaves',
  'when the mediated devices leave, the other device and its mappings stay as they are',
  { ...options, source: DETACH, covers: [VFIO_GROUP_UNSET_CONTAINER] },
  (context) => {
    const { container, edu, mediatedGroup } = beside(context);
    const ram = context.memory({ size: 2 * PAGE, kind: '4k' });
    edu.setContainer(container);
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 2n * P });
    const mapped = mappingState(container);
    const ranges = container.iovaRanges();
    expect(ranges).not.toEqual([]);
    mediatedGroup.unsetContainer();
    expect(mappingState(container)).toEqual(mapped);
    expect(container.iovaRanges()).toEqual(ranges);
    const device = startEdu(context, context.openDevice(edu));
    ram.fill(1, 0, PAGE);
    device.readMemory(IOVA, PAGE);
    device.writeMemory(IOVA + P, PAGE);
    expect(ram.verify(1, PAGE, PAGE)).toBe(-1);
  },
);

test(
  'container.mediated.get-info.joined',
  'page sizes and IOVA ranges are those of the IOMMU while a device is there that needs it',
  {
    ...options,
    source: [ATTACH, DETACH, 'drivers/vfio/vfio_iommu_type1.c vfio_update_pgsize_bitmap()'],
    covers: [VFIO_IOMMU_GET_INFO],
  },
  (context) => {
    const { container, edu } = beside(context);
    const alone = container.getInfo();
    edu.setContainer(container);
    const joined = container.getInfo();
    const ranges = container.iovaRanges();
    expect(joined.iova_pgsizes).not.toBe(alone.iova_pgsizes);
    expect(ranges.length).toBeGreaterThan(0);
    edu.unsetContainer();
    expect(container.getInfo().iova_pgsizes).toBe(alone.iova_pgsizes);
    expect(container.iovaRanges()).toEqual([{ start: 0n, end: (1n << 64n) - 1n }]);
    edu.setContainer(container);
    expect(container.getInfo().iova_pgsizes).toBe(joined.iova_pgsizes);
    expect(container.iovaRanges()).toEqual(ranges);
  },
);

test(
  'container.mediated.updated-vaddr',
  'memory that is pinned anew is that at the vaddr that the mapping was given last',
  {
    ...options,
    source: [REPLAY, 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()'],
    covers: [VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_VADDR')],
  },
  (context) => {
    const { container, edu, mediatedGroup } = beside(context);
    edu.setContainer(container);
    mediatedGroup.unsetContainer();
    const old = context.memory({ size: PAGE, kind: '4k' });
    const next = context.memory({ size: PAGE, kind: '4k' });
    const range = { iova: IOVA, size: P };
    container.mapDma({ ...range, vaddr: old.address });
    container.unmapDma({ ...range, flags: VFIO_DMA_UNMAP_FLAG_VADDR });
    container.mapDma({ ...range, vaddr: next.address, flags: VFIO_DMA_MAP_FLAG_VADDR });
    // With a mediated device the mapping outlives the pages: they are pinned again for who joins.
    mediatedGroup.setContainer(container);
    edu.unsetContainer();
    edu.setContainer(container);
    old.fill(1);
    next.fill(2);
    const device = startEdu(context, context.openDevice(edu));
    device.readMemory(IOVA, 512);
    device.writeMemory(IOVA + 1024n, 512);
    expect(next.verify(2, 1024, 512)).toBe(-1);
    expect(old.verify(1)).toBe(-1);
  },
);

test(
  'container.mediated.reserved-region',
  'a device cannot join where memory is mapped at one of its reserved regions',
  {
    ...options,
    source: [ATTACH, 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_resv_conflict()'],
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EINVAL')],
  },
  (context) => {
    const { container, edu, mediatedGroup } = beside(context);
    const ram = context.memory({ size: 2 * PAGE, kind: '4k' });
    edu.setContainer(container);
    const [low, high] = container.iovaRanges();
    edu.unsetContainer();
    for (const iova of [low!.end + 1n, high!.start - P]) {
      const before = mappingState(container);
      container.mapDma({ iova, vaddr: ram.address, size: P });
      expect(edu.trySetContainer(container)).toFailWith('EINVAL');
      expect(container.unmapDma({ iova, size: P })).toBe(P);
      expect(mappingState(container)).toEqual(before);
    }
    // Right beside it nothing is in the way.
    container.mapDma({ iova: low!.end + 1n - P, vaddr: ram.address, size: P });
    container.mapDma({ iova: high!.start, vaddr: ram.address, size: P });
    expect(edu.trySetContainer(container)).toSucceed(0);
    mediatedGroup.unsetContainer();
  },
);

test(
  'container.mediated.beyond-the-aperture',
  'a device cannot join where memory is mapped at IOVAs that it does not reach, and nothing stays pinned',
  { ...options, covers: [VFIO_GROUP_SET_CONTAINER] },
  (context) => {
    const { container, edu } = beside(context);
    const ram = context.memory({ size: 4 * PAGE, kind: '4k' });
    const far = 1n << 60n;
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 2n * P });
    container.mapDma({ iova: far, vaddr: ram.address + 2n * P, size: 2n * P });
    const before = mappingState(container);
    expect(edu.trySetContainer(container).ok).toBe(false);
    expect(mappingState(container)).toEqual(before);
    expect(container.iovaRanges()).toEqual([]);
    expect(container.unmapDma({ iova: far, size: 2n * P })).toBe(2n * P);
    expect(edu.trySetContainer(container)).toSucceed(0);
    expect(mappingState(container).VmLck).toBe(before.VmLck + 8);
  },
);

test(
  'container.mediated.aperture-conflict',
  'a device that left does not come back where memory was mapped beyond its reach meanwhile',
  {
    ...options,
    source: [ATTACH, 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_aper_conflict()'],
    covers: [VFIO_GROUP_SET_CONTAINER.fails('EINVAL')],
  },
  (context) => {
    const { container, edu } = beside(context);
    const ram = context.memory({ size: PAGE, kind: '4k' });
    edu.setContainer(container);
    const last = container.iovaRanges().at(-1)!.end;
    edu.unsetContainer();
    const before = mappingState(container);
    container.mapDma({ iova: last + 1n, vaddr: ram.address, size: P });
    expect(edu.trySetContainer(container)).toFailWith('EINVAL');
    expect(container.unmapDma({ iova: last + 1n, size: P })).toBe(P);
    expect(mappingState(container)).toEqual(before);
    container.mapDma({ iova: last + 1n - P, vaddr: ram.address, size: P });
    expect(edu.trySetContainer(container)).toSucceed(0);
  },
);

test(
  'container.mediated.memory-is-gone',
  'a device cannot join where mapped memory is gone, and what was pinned for it is released',
  { ...options, covers: [VFIO_GROUP_SET_CONTAINER.fails('EFAULT')] },
  (context) => {
    const { container, edu } = beside(context);
    const ram = context.memory({ size: 8 * PAGE, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 4n * P });
    container.mapDma({ iova: 2n * IOVA, vaddr: ram.address + 4n * P, size: 4n * P });
    const before = mappingState(container);
    expect(sys.munmap(ram.address + 6n * P, PAGE)).toBe(0);
    expect(edu.trySetContainer(container)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    expect(container.unmapDma({ iova: 2n * IOVA, size: 4n * P })).toBe(4n * P);
    expect(edu.trySetContainer(container)).toSucceed(0);
    expect(mappingState(container).VmLck).toBe(before.VmLck + 16);
  },
);

test(
  'container.mediated.memlock',
  'a device joins only within the limit of locked memory, and nothing stays counted if it does not',
  {
    ...options,
    covers: [VFIO_GROUP_SET_CONTAINER.fails('ENOMEM')],
    needs: [...options.needs, ROOT],
    provokes: [/RLIMIT_MEMLOCK \(\d+\) exceeded/],
  },
  (context) => {
    const { container, edu } = beside(context);
    const actor = context.actor({
      dropCaps: true,
      inheritFds: [container.fd, edu.fd],
      rlimits: { RLIMIT_MEMLOCK: 5 * PAGE },
    });
    const user = new ContainerUser(actor, container);
    const vaddr = user.memory(6 * PAGE);
    user.mapDma({ iova: IOVA, vaddr, size: 3n * P });
    user.mapDma({ iova: 2n * IOVA, vaddr: vaddr + 3n * P, size: 3n * P });
    const join = (): number => {
      const program = new Program();
      const number = program.data(4);
      number.bytes.writeInt32LE(container.fd);
      const answer = program.syscall('ioctl', edu.fd, VFIO_GROUP_SET_CONTAINER.request, number);
      actor.run(program);
      return program.result(answer);
    };
    const before = mappingState(container);
    expect(join()).toBe(-12);
    expect(user.locked()).toEqual({ VmLck: 0, VmPin: 0 });
    expect(mappingState(container)).toEqual(before);
    expect(user.unmapDma({ iova: 2n * IOVA, size: 3n * P })).toBe(3n * P);
    expect(join()).toBe(0);
    expect(user.locked().VmLck).toBe(12);
  },
);

test(
  'container.mediated.dirty.joined',
  'the pages of a device are dirty whether a mediated device is beside it, comes or goes',
  {
    ...options,
    source: [ATTACH, DETACH, 'drivers/vfio/vfio_iommu_type1.c update_user_bitmap()'],
    covers: [VFIO_IOMMU_DIRTY_PAGES],
  },
  (context) => {
    const { container, edu, mediatedGroup } = beside(context);
    const ram = context.memory({ size: 4 * PAGE, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 3n * P });
    container.mapDma({ iova: IOVA + 64n * P, vaddr: ram.address + 3n * P, size: P });
    startDirtyTracking(container);
    const dirty = () => {
      const answer = tryGetDirtyBitmap(container, { iova: IOVA, size: 128n * P });
      expect(answer).toSucceed(0);
      return setBits(answer.value.bitmap);
    };
    expect(dirty()).toEqual([]);
    edu.setContainer(container);
    expect(dirty()).toEqual([0, 1, 2, 64]);
    mediatedGroup.unsetContainer();
    expect(dirty()).toEqual([0, 1, 2, 64]);
    mediatedGroup.setContainer(container);
    expect(dirty()).toEqual([0, 1, 2, 64]);
    // What the device wrote while it was there is dirty once more, and then no longer.
    edu.unsetContainer();
    expect(dirty()).toEqual([0, 1, 2, 64]);
    expect(dirty()).toEqual([]);
  },
);

test(
  'container.mediated.second-device',
  'a second device finds the mappings of a container in which a mediated device was first',
  { ...options, covers: [VFIO_IOMMU_MAP_DMA, VFIO_GROUP_SET_CONTAINER], uses: ['edu-rp'] },
  (context) => {
    const { container, edu } = beside(context);
    const ram = context.memory({ size: 2 * PAGE, kind: '4k' });
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 2n * P });
    edu.setContainer(container);
    const mapped = mappingState(container);
    const second = context.openGroup('edu-rp');
    second.setContainer(container);
    expect(mappingState(container)).toEqual(mapped);
    const device = startEdu(context, context.openDevice(second, context.bound('edu-rp').bdf));
    ram.fill(1, 0, PAGE);
    device.readMemory(IOVA, PAGE);
    device.writeMemory(IOVA + P, PAGE);
    expect(ram.verify(1, PAGE, PAGE)).toBe(-1);
    edu.unsetContainer();
    expect(mappingState(container)).toEqual(mapped);
  },
);
