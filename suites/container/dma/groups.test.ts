import {
  DmaProbe,
  IOMMU_FAULT,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  dmaProbe,
  expect,
  mappingState,
  scatteredMemory,
  startEdu,
  test,
  type Container,
  type TestContext,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const BASE = 0x100000n;
const ATTACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()';
const DETACH = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_detach_group()';
const REPLAY = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_replay()';
const provokes = [IOMMU_FAULT];

/** The NVMe controller joins a container, and looks around in it. */
function join(context: TestContext, container: Container): DmaProbe {
  context.openGroup('nvme').setContainer(container);
  const device = context.openDevice(context.openGroup('nvme'), context.bound('nvme').bdf);
  return new DmaProbe(context, device, container);
}

test(
  'container.dma-groups.both-see-it',
  'what the device of one group writes, the device of another group of the container reads',
  {
    covers: [VFIO_IOMMU_MAP_DMA, VFIO_GROUP_SET_CONTAINER],
    source: [ATTACH, 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_map()'],
    device: 'edu',
    uses: ['edu-rp'],
  },
  (context) => {
    const { container, device, memory, openRole } = context;
    const ram = memory({ size: 3 * PAGE, kind: '4k' });
    const other = startEdu(context, openRole('edu-rp').device);
    const edu = startEdu(context, device);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 3n * P });
    ram.fill(1, 0, PAGE);
    edu.readMemory(BASE, PAGE);
    edu.writeMemory(BASE + P, PAGE);
    other.readMemory(BASE + P, PAGE);
    other.writeMemory(BASE + 2n * P, PAGE);
    expect(ram.verify(1, PAGE, PAGE)).toBe(-1);
    expect(ram.verify(1, 2 * PAGE, PAGE)).toBe(-1);
  },
);

for (const type of [VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU]) {
  test(
    `container.dma-groups.joins-later.${type === VFIO_TYPE1_IOMMU ? 'v1' : 'v2'}`,
    'a group that joins a container finds every page of the mappings made before, with their permissions',
    {
      covers: [VFIO_GROUP_SET_CONTAINER],
      source: [ATTACH, REPLAY],
      device: 'edu',
      uses: ['nvme'],
      provokes,
    },
    (context) => {
      const container = context.containerOfType(type);
      const scattered = scatteredMemory(context, 40);
      const huge = context.memory({ size: 0x20_0000, kind: 'thp' });
      const single = context.memory({ size: PAGE, kind: '4k' });
      const hugeBase = 0x4000_0000n;
      container.mapDma({ iova: BASE, vaddr: scattered.address, size: BigInt(scattered.size) });
      container.mapDma({ iova: hugeBase, vaddr: huge.address, size: BigInt(huge.size) });
      const flags = VFIO_DMA_MAP_FLAG_READ;
      container.mapDma({ iova: 0n, vaddr: single.address, size: P, flags });
      scattered.backing.fill(1);
      huge.fill(2);
      single.fill(3);
      const before = mappingState(container);
      const probe = join(context, container);
      const pages = scattered.size / PAGE;
      const places = Array.from({ length: pages }, (_, page) => ({
        iova: BASE + BigInt(page) * P,
        phase: scattered.order[page]! * PAGE,
      }));
      expect(probe.misses(1, places)).toEqual([]);
      const inside = [0, PAGE, 0x10_0000, 0x20_0000 - PAGE].map((phase) => ({
        iova: hugeBase + BigInt(phase),
        phase,
      }));
      expect(probe.misses(2, inside)).toEqual([]);
      expect(probe.finds(3, 0n)).toBe(true);
      probe.write(4, 0n, hugeBase + P);
      expect(single.verify(3)).toBe(-1);
      expect(huge.verify(4, PAGE, 512)).toBe(-1);
      // The pages are pinned once, whoever reaches them; the probe has two mappings of its own.
      expect(mappingState(container).dmaAvail).toBe(before.dmaAvail! - 2);
      const own = DmaProbe.MAPPED / 1024;
      const after = mappingState(container);
      if (before.pinned !== null) {
        expect(after.pinned! - before.pinned).toBe(DmaProbe.MAPPED / PAGE);
      }
      expect(after.VmLck + after.VmPin).toBe(before.VmLck + before.VmPin + own);
    },
  );
}

test(
  'container.dma-groups.mapped-while-together',
  'mappings made and removed while two groups are together appear and vanish for both',
  { covers: [VFIO_IOMMU_MAP_DMA], source: ATTACH, device: 'edu', uses: ['nvme'], provokes },
  (context) => {
    const { container, device, memory } = context;
    const probe = join(context, container);
    const edu = startEdu(context, device);
    const ram = memory({ size: PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P });
    ram.fill(1);
    expect(probe.finds(1, BASE)).toBe(true);
    edu.readMemory(BASE, 512);
    edu.writeMemory(BASE + 1024n, 512);
    expect(ram.verify(1, 1024, 512)).toBe(-1);
    expect(container.unmapDma({ iova: BASE, size: P })).toBe(P);
    ram.fill(2);
    expect(probe.finds(2, BASE)).toBe(false);
    probe.write(3, BASE);
    edu.writeMemory(BASE, 512);
    expect(ram.verify(2)).toBe(-1);
  },
);

test(
  'container.dma-groups.leaves',
  'a group that leaves a container for another reaches nothing of the old one, which stays as it was',
  {
    covers: [VFIO_GROUP_UNSET_CONTAINER],
    source: DETACH,
    device: 'edu',
    uses: ['nvme'],
    provokes,
  },
  (context) => {
    const { container, device, memory, openGroup, containerWith } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const edu = startEdu(context, device);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P });
    ram.fill(1);
    openGroup('nvme').setContainer(container);
    openGroup('nvme').unsetContainer();
    const other = containerWith(openGroup('nvme'));
    const nvme = context.openDevice(openGroup('nvme'), context.bound('nvme').bdf);
    const probe = new DmaProbe(context, nvme, other);
    expect(probe.finds(1, BASE)).toBe(false);
    probe.write(2, BASE);
    expect(ram.verify(1)).toBe(-1);
    edu.readMemory(BASE, 512);
    edu.writeMemory(BASE + 2048n, 512);
    expect(ram.verify(1, 2048, 512)).toBe(-1);
  },
);

test(
  'container.dma-groups.two-containers',
  'the same IOVA in two containers is two places: each device reaches only its own',
  {
    covers: [VFIO_IOMMU_MAP_DMA],
    source: ATTACH,
    device: 'edu',
    uses: ['nvme'],
    provokes,
  },
  (context) => {
    const { container, device, memory, openGroup, containerWith } = context;
    const mine = memory({ size: 2 * PAGE, kind: '4k' });
    const theirs = memory({ size: PAGE, kind: '4k' });
    const other = containerWith(openGroup('nvme'));
    const nvme = context.openDevice(openGroup('nvme'), context.bound('nvme').bdf);
    const probe = new DmaProbe(context, nvme, other);
    const edu = startEdu(context, device);
    container.mapDma({ iova: BASE, vaddr: mine.address, size: 2n * P });
    other.mapDma({ iova: BASE, vaddr: theirs.address, size: P });
    mine.fill(1);
    theirs.fill(2);
    expect(probe.finds(2, BASE)).toBe(true);
    expect(probe.finds(1, BASE + P, PAGE)).toBe(false);
    probe.write(3, BASE, BASE + P);
    expect(theirs.verify(3, 0, 512)).toBe(-1);
    expect(mine.verify(1)).toBe(-1);
    expect(other.unmapDma({ iova: BASE, size: P })).toBe(P);
    edu.readMemory(BASE, 512);
    edu.writeMemory(BASE + P, 512);
    expect(mine.verify(1, PAGE, 512)).toBe(-1);
    expect(theirs.verify(3, 0, 512)).toBe(-1);
  },
);

test(
  'container.dma-groups.survivor',
  'when one of two groups leaves, the other one still reaches every mapping',
  { covers: [VFIO_GROUP_UNSET_CONTAINER], source: DETACH, device: 'nvme', uses: ['edu-rp'] },
  (context) => {
    const { container, memory, openGroup } = context;
    const ram = memory({ size: 4 * PAGE, kind: '4k' });
    const probe = dmaProbe(context);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * P });
    ram.fill(1);
    const places = [0, 1, 2, 3].map((page) => ({
      iova: BASE + BigInt(page) * P,
      phase: page * PAGE,
    }));
    for (let round = 0; round < 3; round++) {
      openGroup('edu-rp').setContainer(container);
      expect(probe.misses(1, places)).toEqual([]);
      openGroup('edu-rp').unsetContainer();
      expect(probe.misses(1, places)).toEqual([]);
    }
  },
);
