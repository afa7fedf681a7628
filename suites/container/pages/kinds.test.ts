import {
  DmaProbe,
  IOMMU_FAULT,
  MADV_POPULATE_WRITE,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_HUGETLB,
  MAP_HUGE_2MB,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_IOMMU_MAP_DMA,
  dmaProbe,
  expect,
  hugePages,
  mappingState,
  reserveAddresses,
  scatteredMemory,
  sys,
  test,
  type DmaMemory,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const HUGE = 0x20_0000;
const GIB = 0x4000_0000;
const BASE = 0x1_4000_0000n;
const PIN = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_pages_remote()';
const MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_map_dma()';

/** The first and last pages, and those beside borders of huge pages and of batches of 512 pages. */
function samples(size: number): number[] {
  const pages = size / PAGE;
  return [0, 1, 2, 255, 511, 512, 513, 1023, 1024, 1025, pages / 2, pages - 2, pages - 1]
    .map(Math.floor)
    .filter((page, index, all) => page >= 0 && page < pages && all.indexOf(page) === index);
}

const placesAt = (iova: bigint, pages: readonly number[]) =>
  pages.map((page) => ({ iova: iova + BigInt(page) * P, phase: page * PAGE }));

/** A huge page is filled in TCG in a second or more: only the samples are. */
function fillSamples(ram: DmaMemory, seed: number, pages: readonly number[]): void {
  for (const page of pages) ram.fill(seed, page * PAGE, PAGE, page * PAGE);
}

for (const { kind, name, size, words, needs } of [
  { kind: '4k', name: '4k', size: 1030 * PAGE, words: 'small pages', needs: [] },
  { kind: 'thp', name: 'thp', size: 2 * HUGE, words: 'transparent huge pages', needs: [] },
  {
    kind: 'hugetlb-2m',
    name: 'hugetlb-2m',
    size: 2 * HUGE,
    words: 'huge pages of 2 MiB',
    needs: [hugePages(2048, 2)],
  },
  {
    kind: 'hugetlb-1g',
    name: 'hugetlb-1g',
    size: GIB,
    words: 'a huge page of 1 GiB',
    needs: [hugePages(GIB / 1024, 1)],
  },
  { kind: 'memfd', name: 'memfd', size: 600 * PAGE, words: 'a memfd', needs: [] },
  { kind: 'zero', name: 'zero', size: 520 * PAGE, words: 'memory never written', needs: [] },
] as const) {
  test(
    `container.page-kinds.${name}`,
    `the device reads and writes every part of ${words}, and all of it is counted once`,
    { covers: [VFIO_IOMMU_MAP_DMA], source: [PIN, MAP], device: 'nvme', needs, peer: ['S13'] },
    (context) => {
      const { container, memory } = context;
      const ram = memory({ size, kind, populate: kind !== 'hugetlb-1g' });
      const probe = dmaProbe(context);
      const before = mappingState(container);
      container.mapDma({ iova: BASE, vaddr: ram.address, size: BigInt(size) });
      const after = mappingState(container);
      const grown = after.VmLck - before.VmLck + (after.VmPin - before.VmPin);
      expect(grown).toBe(size / 1024);
      if (before.pinned !== null) expect(after.pinned! - before.pinned).toBe(size / PAGE);
      expect(after.dmaAvail).toBe(before.dmaAvail! - 1);
      const pages = samples(size);
      fillSamples(ram, 1, pages);
      expect(probe.misses(1, placesAt(BASE, pages))).toEqual([]);
      probe.write(2, ...pages.map((page) => BASE + BigInt(page) * P + 1024n));
      for (const page of pages) {
        expect(ram.verify(2, page * PAGE + 1024, 512), `page ${page}`).toBe(-1);
        expect(ram.verify(1, page * PAGE, 1024, page * PAGE), `page ${page}`).toBe(-1);
      }
      expect(container.unmapDma({ iova: BASE, size: BigInt(size) })).toBe(BigInt(size));
      expect(mappingState(container)).toEqual(before);
    },
  );
}

test(
  'container.page-kinds.part-of-huge-page',
  'a part of a huge page can be mapped at an IOVA of any alignment, and nothing beside it is reachable',
  {
    covers: [VFIO_IOMMU_MAP_DMA],
    source: PIN,
    device: 'nvme',
    needs: [hugePages(2048, 1)],
    provokes: [IOMMU_FAULT],
  },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: HUGE, kind: 'hugetlb-2m' });
    const probe = dmaProbe(context);
    const iova = BASE + 5n * P;
    ram.fill(1);
    container.mapDma({ iova, vaddr: ram.address + 3n * P, size: 100n * P });
    const places = [0, 1, 50, 99].map((page) => ({
      iova: iova + BigInt(page) * P,
      phase: (page + 3) * PAGE,
    }));
    expect(probe.misses(1, places)).toEqual([]);
    const beside = [
      { iova: iova - P, phase: 2 * PAGE },
      { iova: iova + 100n * P, phase: 103 * PAGE },
    ];
    expect(probe.misses(1, beside)).toEqual([0, 1]);
    probe.write(2, ...beside.map((place) => place.iova));
    expect(ram.verify(1)).toBe(-1);
  },
);

test(
  'container.page-kinds.unaligned-huge-pages',
  'huge pages at an IOVA that is not aligned to their size are mapped page for page',
  { covers: [VFIO_IOMMU_MAP_DMA], source: MAP, device: 'nvme', needs: [hugePages(2048, 2)] },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 2 * HUGE, kind: 'hugetlb-2m' });
    const probe = dmaProbe(context);
    const iova = BASE + P;
    const pages = samples(ram.size);
    container.mapDma({ iova, vaddr: ram.address, size: BigInt(ram.size) });
    fillSamples(ram, 1, pages);
    expect(probe.misses(1, placesAt(iova, pages))).toEqual([]);
    expect(container.unmapDma({ iova, size: BigInt(ram.size) })).toBe(BigInt(ram.size));
  },
);

test(
  'container.page-kinds.side-by-side',
  'one mapping over small pages, a huge page and a file leads to each of them',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [PIN, MAP], device: 'nvme', needs: [hugePages(2048, 1)] },
  (context) => {
    const { container, memory, defer } = context;
    const file = memory({ size: PAGE, kind: 'memfd' });
    const area = reserveAddresses(3n * BigInt(HUGE), BigInt(HUGE));
    defer(() => area.release());
    const start = area.address + BigInt(HUGE) - P;
    const fixed = (address: bigint, size: number, flags: number, fd: number) => {
      const prot = PROT_READ | PROT_WRITE;
      expect(sys.mmap(address, size, prot, flags | MAP_FIXED, fd, 0)).toBe(address);
    };
    const anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    fixed(start, PAGE, anonymous, -1);
    fixed(start + P, HUGE, anonymous | MAP_HUGETLB | MAP_HUGE_2MB, -1);
    fixed(start + P + BigInt(HUGE), PAGE, MAP_SHARED, file.fd);
    const size = HUGE + 2 * PAGE;
    expect(sys.madvise(start, size, MADV_POPULATE_WRITE)).toBe(0);
    const probe = dmaProbe(context);
    const before = mappingState(container);
    container.mapDma({ iova: BASE - P, vaddr: start, size: BigInt(size) });
    const places = [0, 1, 2, 256, 511, 512, 513].map((page) => ({
      iova: BASE - P + BigInt(page) * P,
    }));
    file.fill(9);
    expect(probe.finds(9, BASE + BigInt(HUGE))).toBe(true);
    // What the device writes in each page, the process finds there and not elsewhere.
    places.forEach(({ iova }, index) => probe.write(20 + index, iova));
    const program = new Program();
    const checks = places.map(({ iova }, index) =>
      program.verify(start + (iova - BASE + P), DmaProbe.SIZE, 20 + index),
    );
    program.run();
    expect(checks.map((check) => program.result(check))).toEqual(places.map(() => 0));
    expect(file.verify(26, 0, DmaProbe.SIZE)).toBe(-1);
    expect(container.unmapDma({ iova: BASE - P, size: BigInt(size) })).toBe(BigInt(size));
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.page-kinds.many-areas',
  'one mapping over more than 512 memory areas leads to the right page in each of them',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [PIN, MAP], device: 'nvme' },
  (context) => {
    const { container } = context;
    const PAGES = 520;
    const ram = scatteredMemory(context, PAGES);
    const probe = dmaProbe(context);
    ram.backing.fill(1);
    container.mapDma({ iova: BASE, vaddr: ram.address, size: BigInt(ram.size) });
    const places = Array.from({ length: PAGES }, (_, page) => ({
      iova: BASE + BigInt(page) * P,
      phase: ram.order[page]! * PAGE,
    }));
    expect(probe.misses(1, places)).toEqual([]);
  },
);
