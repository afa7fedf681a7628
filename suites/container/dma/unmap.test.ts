import {
  INTEL_IOMMU,
  traceFunctions,
  tracedFunctions,
  DMA_ROLES,
  DmaProbe,
  IOMMU_FAULT,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  dmaDevice,
  dmaProbe,
  expect,
  mappingState,
  scatteredMemory,
  startEdu,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const BASE = 0x100000n;
/** Not 0: a network card takes that for no buffer. */
const OTHER = 0x400000n;
const UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_unmap_unpin()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const covers = [VFIO_IOMMU_UNMAP_DMA];
const provokes = [IOMMU_FAULT];

test(
  'container.dma-unmap.nothing-reaches-memory',
  'after an unmap the device neither writes the memory nor reads what is in it',
  { covers, source: UNMAP, devices: DMA_ROLES, peer: ['S25'], provokes },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: PAGE, kind: '4k' });
    const target = memory({ size: PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: P });
    container.mapDma({ iova: OTHER, vaddr: target.address, size: P });
    const dma = dmaDevice(context);
    const count = dma.maxTransfer;
    ram.fill(1);
    target.fill(2);
    // The device knows the translation before it goes.
    dma.readMemory(BASE, count);
    dma.writeMemory(BASE, count);
    expect(container.unmapDma({ iova: BASE, size: P })).toBe(P);
    dma.readMemory(OTHER, count);
    dma.writeMemory(BASE, count);
    expect(ram.verify(1)).toBe(-1);
    ram.fill(3);
    dma.readMemory(BASE, count);
    dma.writeMemory(OTHER, count);
    expect(target.verify(3, 0, count)).not.toBe(-1);
    expect(ram.verify(3)).toBe(-1);
  },
);

test(
  'container.dma-unmap.neighbours',
  'an unmap takes exactly its own mapping away: those that touch it stay reachable',
  { covers, source: [UNMAP, DO_UNMAP], device: 'nvme', provokes },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 6 * PAGE, kind: '4k' });
    for (const page of [0n, 2n, 4n]) {
      container.mapDma({ iova: BASE + page * P, vaddr: ram.address + page * P, size: 2n * P });
    }
    const probe = dmaProbe(context);
    ram.fill(1);
    expect(container.unmapDma({ iova: BASE + 2n * P, size: 2n * P })).toBe(2n * P);
    const places = [0, 1, 2, 3, 4, 5].map((page) => ({
      iova: BASE + BigInt(page) * P,
      phase: page * PAGE,
    }));
    expect(probe.misses(1, places)).toEqual([2, 3]);
    probe.write(2, ...places.map(({ iova }) => iova + 1024n));
    for (const page of [0, 1, 4, 5]) expect(ram.verify(2, page * PAGE + 1024, 512)).toBe(-1);
    expect(ram.verify(1, 2 * PAGE, 2 * PAGE, 2 * PAGE)).toBe(-1);
  },
);

test(
  'container.dma-unmap.several',
  'one range takes away every mapping inside it, and none outside',
  { covers, source: DO_UNMAP, device: 'nvme', provokes },
  (context) => {
    const { container, memory } = context;
    const PAGES = 16;
    const ram = memory({ size: PAGES * PAGE, kind: '4k' });
    const places = Array.from({ length: PAGES }, (_, page) => ({
      iova: BASE + BigInt(page) * 2n * P,
      phase: page * PAGE,
    }));
    for (const { iova, phase } of places) {
      container.mapDma({ iova, vaddr: ram.address + BigInt(phase), size: P });
    }
    const probe = dmaProbe(context);
    ram.fill(1);
    expect(probe.misses(1, places)).toEqual([]);
    // From the gap before mapping 3 to the gap behind mapping 10.
    const unmap = { iova: BASE + 5n * P, size: 17n * P };
    expect(container.unmapDma(unmap)).toBe(8n * P);
    expect(probe.misses(1, places)).toEqual([3, 4, 5, 6, 7, 8, 9, 10]);
  },
);

test(
  'container.dma-unmap.all',
  'VFIO_DMA_UNMAP_FLAG_ALL takes away everything, at low and at high addresses',
  {
    covers: [VFIO_IOMMU_UNMAP_DMA.flag('VFIO_DMA_UNMAP_FLAG_ALL')],
    source: DO_UNMAP,
    device: 'edu',
    provokes,
  },
  (context) => {
    const { container, device, memory } = context;
    const ram = memory({ size: 3 * PAGE, kind: '4k' });
    const iovas = [0n, 0x2000_0000n, 0x10_0000_0000n];
    iovas.forEach((iova, index) => {
      container.mapDma({ iova, vaddr: ram.address + BigInt(index) * P, size: P });
    });
    const edu = startEdu(context, device);
    ram.fill(1);
    edu.readMemory(0n, 512);
    const all = { iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL };
    expect(container.unmapDma(all)).toBe(3n * P);
    for (const iova of iovas) edu.writeMemory(iova + 1024n, 512);
    expect(ram.verify(1)).toBe(-1);
  },
);

test(
  'container.dma-unmap.v1.offset',
  'on a v1 container a range that begins inside a mapping takes nothing from the device',
  { covers, source: DO_UNMAP, device: 'nvme' },
  (context) => {
    const container = context.containerOfType(VFIO_TYPE1_IOMMU);
    const device = context.openDevice(context.openGroup());
    const ram = context.memory({ size: 4 * PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * P });
    const probe = new DmaProbe(context, device, container);
    ram.fill(1);
    for (const page of [1n, 2n, 3n]) {
      expect(container.unmapDma({ iova: BASE + page * P, size: P })).toBe(0n);
    }
    const places = [0, 1, 2, 3].map((page) => ({
      iova: BASE + BigInt(page) * P,
      phase: page * PAGE,
    }));
    expect(probe.misses(1, places)).toEqual([]);
  },
);

test(
  'container.dma-unmap.v1.first-page',
  'on a v1 container an unmap of the first page takes the whole mapping from the device, and no more',
  { covers, source: DO_UNMAP, device: 'nvme', provokes },
  (context) => {
    const container = context.containerOfType(VFIO_TYPE1_IOMMU);
    const device = context.openDevice(context.openGroup());
    const ram = context.memory({ size: 6 * PAGE, kind: '4k' });
    const probe = new DmaProbe(context, device, container);
    for (const page of [0n, 2n, 4n]) {
      container.mapDma({ iova: BASE + page * P, vaddr: ram.address + page * P, size: 2n * P });
    }
    ram.fill(1);
    expect(container.unmapDma({ iova: BASE + 2n * P, size: P })).toBe(2n * P);
    const places = [0, 1, 2, 3, 4, 5].map((page) => ({
      iova: BASE + BigInt(page) * P,
      phase: page * PAGE,
    }));
    expect(probe.misses(1, places)).toEqual([2, 3]);
  },
);

test(
  'container.dma-unmap.huge-page',
  'a huge page is taken away as a whole, the small pages on both sides stay',
  { covers, source: UNMAP, device: 'nvme', provokes },
  (context) => {
    const { container, memory } = context;
    const HUGE = 0x20_0000;
    const base = 0x4000_0000n;
    const huge = memory({ size: HUGE, kind: 'thp' });
    const small = memory({ size: 2 * PAGE, kind: '4k' });
    container.mapDma({ iova: base - P, vaddr: small.address, size: P });
    container.mapDma({ iova: base, vaddr: huge.address, size: BigInt(HUGE) });
    container.mapDma({ iova: base + BigInt(HUGE), vaddr: small.address + P, size: P });
    const probe = dmaProbe(context);
    huge.fill(1);
    small.fill(2);
    const inside = [0, PAGE, HUGE / 2, HUGE - PAGE].map((phase) => ({
      iova: base + BigInt(phase),
      phase,
    }));
    expect(probe.misses(1, inside)).toEqual([]);
    expect(container.unmapDma({ iova: base, size: BigInt(HUGE) })).toBe(BigInt(HUGE));
    expect(probe.misses(1, inside)).toEqual([0, 1, 2, 3]);
    const outside = [
      { iova: base - P, phase: 0 },
      { iova: base + BigInt(HUGE), phase: PAGE },
    ];
    expect(probe.misses(2, outside)).toEqual([]);
  },
);

for (const pages of [511, 512, 513, 1100]) {
  test(
    `container.dma-unmap.scattered.${pages}`,
    `${pages} scattered pages are all reachable while mapped, and none of them after the unmap`,
    {
      covers,
      source: [UNMAP, 'drivers/vfio/vfio_iommu_type1.c unmap_unpin_fast()'],
      device: 'nvme',
      provokes,
    },
    (context) => {
      const { container } = context;
      const ram = scatteredMemory(context, pages);
      const probe = dmaProbe(context);
      const before = mappingState(container);
      const size = BigInt(ram.size);
      container.mapDma({ iova: BASE, vaddr: ram.address, size });
      ram.backing.fill(1);
      const sample = [0, 1, 255, 256, 509, 510, 511, 512, 1023, 1024, pages - 2, pages - 1];
      const places = sample
        .filter((page) => page < pages)
        .map((page) => ({
          iova: BASE + BigInt(page) * P,
          phase: ram.order[page]! * PAGE,
        }));
      expect(probe.misses(1, places)).toEqual([]);
      expect(container.unmapDma({ iova: BASE, size })).toBe(size);
      expect(mappingState(container)).toEqual(before);
      expect(probe.misses(1, places)).toEqual(places.map((_, index) => index));
      expect(ram.backing.verify(1)).toBe(-1);
    },
  );
}

/** What flushes the IOTLB, and what gives back the pages of an unmap. */
const FLUSH = 'intel_iommu_tlb_sync';
const UNPIN = 'unpin_user_page_range_dirty_lock';

test(
  'container.dma-unmap.flushed-first',
  'pages are given back only when the IOMMU has forgotten them, however many pieces they are in',
  {
    covers,
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_sync_unpin()',
    device: 'edu',
    needs: [tracedFunctions(FLUSH, UNPIN), INTEL_IOMMU],
    since: '7.3',
  },
  (context) => {
    const { container } = context;
    const PAGES = 600;
    const ram = scatteredMemory(context, PAGES);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: BigInt(ram.size) });
    const calls = traceFunctions([FLUSH, UNPIN], () => {
      expect(container.unmapDma({ iova: BASE, size: BigInt(ram.size) })).toBe(BigInt(ram.size));
    });
    const flushes = calls.flatMap((name, index) => (name === FLUSH ? [index] : []));
    const unpinned = calls.lastIndexOf(UNPIN);
    expect(unpinned).toBeGreaterThan(0);
    expect(flushes[0]).toBe(0);
    expect(flushes.every((index) => index < unpinned)).toBe(true);
  },
);
