import {
  DMA_ROLES,
  Nvme,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  dmaDevice,
  dmaProbe,
  expect,
  scatteredMemory,
  startNvme,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const BASE = 0x100000n;
/** Not 0: a network card takes that for no buffer. */
const OTHER = 0x400000n;
const MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_map_dma()';
const IOMMU_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_map()';
const UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_unmap_unpin()';

test(
  'container.dma-data.both-ways',
  'a device gets what the process wrote, the process gets what the device wrote, and nothing else changes',
  { covers: [VFIO_IOMMU_MAP_DMA], source: IOMMU_MAP, devices: DMA_ROLES, peer: ['S23'] },
  (context) => {
    const ram = context.memory({ size: 4 * PAGE, kind: '4k' });
    context.container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * P });
    const dma = dmaDevice(context);
    const count = dma.maxTransfer;
    ram.fill(1);
    ram.fill(2, 0, count);
    dma.readMemory(BASE, count);
    dma.writeMemory(BASE + 2n * P, count);
    expect(ram.verify(2, 0, count)).toBe(-1);
    expect(ram.verify(2, 2 * PAGE, count)).toBe(-1);
    expect(ram.verify(1, count, 2 * PAGE - count, count)).toBe(-1);
    const after = 2 * PAGE + count;
    expect(ram.verify(1, after, 4 * PAGE - after, after)).toBe(-1);
  },
);

test(
  'container.dma-data.page-offset',
  'a device reads and writes inside pages and across the border of two pages, to the byte',
  { covers: [VFIO_IOMMU_MAP_DMA], source: IOMMU_MAP, device: 'nvme' },
  (context) => {
    const ram = context.memory({ size: 8 * PAGE, kind: '4k' });
    context.container.mapDma({ iova: BASE, vaddr: ram.address, size: 8n * P });
    const nvme = startNvme(context, context.device, context.container);
    const count = nvme.maxTransfer;
    for (const { from, to } of [
      { from: 4, to: 4 * PAGE + 2048 },
      { from: PAGE - 256, to: 4 * PAGE + 8 },
      { from: 1024, to: 5 * PAGE - 4 },
      { from: 2 * PAGE - 508, to: 6 * PAGE - 508 },
    ]) {
      ram.fill(1);
      ram.fill(7, from, count);
      nvme.copy([{ from: BASE + BigInt(from), to: BASE + BigInt(to) }]);
      expect(ram.verify(7, to, count)).toBe(-1);
      expect(ram.verify(1, to - 1024, 1024, to - 1024)).toBe(-1);
      expect(ram.verify(1, to + count, 1024, to + count)).toBe(-1);
    }
  },
);

test(
  'container.dma-data.across-mappings',
  'a transfer may run from one mapping into the next, to memory that lies elsewhere',
  { covers: [VFIO_IOMMU_MAP_DMA], source: IOMMU_MAP, devices: DMA_ROLES },
  (context) => {
    const { container, memory } = context;
    const parts = [0, 1].map(() => memory({ size: PAGE, kind: '4k' }));
    const source = memory({ size: PAGE, kind: '4k' });
    parts.forEach((part, index) => {
      part.fill(1);
      container.mapDma({ iova: BASE + BigInt(1 - index) * P, vaddr: part.address, size: P });
    });
    container.mapDma({ iova: OTHER, vaddr: source.address, size: P });
    const dma = dmaDevice(context);
    const count = dma.maxTransfer;
    const half = count / 2;
    source.fill(2);
    dma.readMemory(OTHER, count);
    dma.writeMemory(BASE + P - BigInt(half), count);
    const [second, first] = parts as [(typeof parts)[0], (typeof parts)[0]];
    expect(first.verify(2, PAGE - half, half)).toBe(-1);
    expect(second.verify(2, 0, half, half)).toBe(-1);
    expect(first.verify(1, 0, PAGE - half)).toBe(-1);
    expect(second.verify(1, half, PAGE - half, half)).toBe(-1);
    dma.readMemory(BASE + P - BigInt(half), count);
    source.fill(1);
    dma.writeMemory(OTHER, count);
    expect(source.verify(2, 0, count)).toBe(-1);
  },
);

/** Places that differ in the tables of the IOMMU: the low and the high half, each level of its page table. */
const IOVAS = [
  { name: 'zero', iova: 0n },
  { name: 'below-2m', iova: 0x1ff000n },
  { name: 'below-4g', iova: 0xfffff000n },
  { name: 'at-4g', iova: 0x1_0000_0000n },
  { name: 'above-4g', iova: 0x7_6543_2000n },
  { name: 'below-512g', iova: 0x7f_ffff_f000n },
] as const;

for (const { name, iova } of IOVAS) {
  test(
    `container.dma-data.iova.${name}`,
    `a device reaches a mapping at IOVA 0x${iova.toString(16)} under all bits of this address`,
    { covers: [VFIO_IOMMU_MAP_DMA], source: IOMMU_MAP, device: 'nvme' },
    (context) => {
      const { container, memory } = context;
      const ram = memory({ size: 2 * PAGE, kind: '4k' });
      const other = memory({ size: PAGE, kind: '4k' });
      ram.fill(1);
      other.fill(2);
      const nvme = startNvme(context, context.device, container);
      // The same low bits elsewhere: where a truncated address would lead to.
      const alias = iova === 0x1_0000_0000n ? 0n : (iova & 0x0fff_ffffn) + 0x3000_0000n;
      container.mapDma({ iova, vaddr: ram.address, size: P });
      container.mapDma({ iova: alias, vaddr: other.address, size: P });
      container.mapDma({ iova: 0x5000_0000n, vaddr: ram.address + P, size: P });
      nvme.copy([
        { from: iova, to: 0x5000_0000n },
        { from: 0x5000_0000n, to: iova + 1024n },
      ]);
      expect(ram.verify(1, PAGE, 512)).toBe(-1);
      expect(ram.verify(1, 1024, 512)).toBe(-1);
      expect(ram.verify(1, 1536, 512, 1536)).toBe(-1);
      expect(other.verify(2)).toBe(-1);
    },
  );
}

test(
  'container.dma-data.across-4g',
  'a device finds each page of a mapping that crosses 4 GiB under all bits of its address',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [MAP, IOMMU_MAP], device: 'nvme', peer: ['A5'] },
  (context) => {
    const PAGES = 8;
    const { container } = context;
    const ram = scatteredMemory(context, PAGES);
    const probe = dmaProbe(context);
    const iova = (1n << 32n) - BigInt(PAGES / 2) * P;
    ram.backing.fill(1);
    container.mapDma({ iova, vaddr: ram.address, size: BigInt(ram.size) });
    const places = ram.order.map((from, page) => ({
      iova: iova + BigInt(page) * P,
      phase: from * PAGE,
    }));
    expect(probe.misses(1, places)).toEqual([]);
    probe.write(2, ...places.map((place) => place.iova + 1024n));
    for (const { phase } of places) expect(ram.backing.verify(2, phase + 1024, 512)).toBe(-1);
    expect(container.unmapDma({ iova, size: BigInt(ram.size) })).toBe(BigInt(ram.size));
  },
);

test(
  'container.dma-data.every-page',
  'each page of a mapping leads to its page of memory, contiguous or not',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [MAP, IOMMU_MAP], device: 'nvme' },
  (context) => {
    const PAGES = 200;
    const { container, memory } = context;
    const ram = memory({ size: PAGES * PAGE, kind: '4k' });
    const marks = memory({ size: PAGES * 512, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: BigInt(PAGES) * P });
    container.mapDma({ iova: 0x4000_0000n, vaddr: marks.address, size: BigInt(marks.size) });
    const nvme = startNvme(context, context.device, container);
    ram.fill(9);
    nvme.copy(
      Array.from({ length: PAGES }, (_, page) => ({
        from: BASE + BigInt(page) * P,
        to: 0x4000_0000n + BigInt(page) * 512n,
      })),
    );
    for (let page = 0; page < PAGES; page++) {
      expect(marks.verify(9, page * 512, 512, page * PAGE), `page ${page}`).toBe(-1);
    }
  },
);

test(
  'container.dma-data.backwards',
  'single pages mapped in reverse order of their memory are each where they were put',
  { covers: [VFIO_IOMMU_MAP_DMA], source: IOMMU_MAP, device: 'nvme', peer: ['A2'] },
  (context) => {
    const PAGES = 64;
    const { container, memory } = context;
    const ram = memory({ size: PAGES * PAGE, kind: 'thp' });
    const marks = memory({ size: PAGES * 512, kind: '4k' });
    for (let page = 0; page < PAGES; page++) {
      const vaddr = ram.address + BigInt(PAGES - 1 - page) * P;
      container.mapDma({ iova: BASE + BigInt(page) * P, vaddr, size: P });
    }
    container.mapDma({ iova: 0x4000_0000n, vaddr: marks.address, size: BigInt(marks.size) });
    const nvme = startNvme(context, context.device, container);
    ram.fill(9);
    nvme.copy(
      Array.from({ length: PAGES }, (_, page) => ({
        from: BASE + BigInt(page) * P,
        to: 0x4000_0000n + BigInt(page) * 512n,
      })),
    );
    for (let page = 0; page < PAGES; page++) {
      const phase = (PAGES - 1 - page) * PAGE;
      expect(marks.verify(9, page * 512, 512, phase), `page ${page}`).toBe(-1);
    }
  },
);

test(
  'container.dma-data.same-memory-twice',
  'memory that is mapped at two IOVAs is the same memory through both, until one is unmapped',
  {
    covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
    source: [IOMMU_MAP, UNMAP],
    device: 'nvme',
  },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 2 * PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * P });
    container.mapDma({ iova: 2n * BASE, vaddr: ram.address, size: 2n * P });
    const nvme = startNvme(context, context.device, container);
    ram.fill(3);
    nvme.copy([{ from: 2n * BASE, to: BASE + P }]);
    expect(ram.verify(3, PAGE, 512)).toBe(-1);
    expect(container.unmapDma({ iova: BASE, size: 2n * P })).toBe(2n * P);
    ram.fill(4);
    nvme.copy([{ from: 2n * BASE, to: 2n * BASE + P }]);
    expect(ram.verify(4, PAGE, 512)).toBe(-1);
  },
);

test(
  'container.dma-data.remap',
  'an IOVA that was unmapped and mapped to other memory leads to the other memory at once',
  {
    covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA],
    source: [UNMAP, IOMMU_MAP],
    device: 'nvme',
  },
  (context) => {
    const ROUNDS = 8;
    const { container, memory } = context;
    const ram = memory({ size: (ROUNDS + 1) * PAGE, kind: '4k' });
    const source = memory({ size: PAGE, kind: '4k' });
    container.mapDma({ iova: 0n, vaddr: source.address, size: P });
    const nvme = startNvme(context, context.device, container);
    ram.fill(1);
    for (let round = 0; round < ROUNDS; round++) {
      const vaddr = ram.address + BigInt(round) * P;
      container.mapDma({ iova: BASE, vaddr, size: P });
      source.fill(100 + round);
      // Both directions: what the IOMMU keeps of a translation is used by each.
      nvme.copy([
        { from: 0n, to: BASE },
        { from: BASE, to: BASE + 2048n },
      ]);
      expect(container.unmapDma({ iova: BASE, size: P })).toBe(P);
    }
    for (let round = 0; round < ROUNDS; round++) {
      expect(ram.verify(100 + round, round * PAGE, 512)).toBe(-1);
      expect(ram.verify(100 + round, round * PAGE + 2048, 512)).toBe(-1);
    }
    expect(ram.verify(1, ROUNDS * PAGE, PAGE, ROUNDS * PAGE)).toBe(-1);
  },
);

test(
  'container.dma-data.queues-of-a-device',
  'a device that polls memory by itself, as a controller its queues, works on mapped memory alone',
  { covers: [VFIO_IOMMU_MAP_DMA], source: IOMMU_MAP, device: 'nvme' },
  (context) => {
    const { container, device, memory } = context;
    const ram = memory({ size: 2 * PAGE, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * P });
    const nvme = startNvme(context, device, container);
    // More commands than the queues have entries: they wrap around.
    nvme.identify(Array.from({ length: 150 }, (_, index) => BASE + BigInt(index % 2) * P));
    const identity = ram.read(0, PAGE);
    expect(identity.readUInt16LE(0)).toBe(0x1b36);
    expect(identity.equals(ram.read(PAGE, PAGE))).toBe(true);
    expect(container.unmapDma({ iova: Nvme.QUEUES_IOVA, size: BigInt(Nvme.QUEUES_SIZE) })).toBe(
      BigInt(Nvme.QUEUES_SIZE),
    );
  },
);
