import {
  DMA_HEAP,
  heapMemory,
  hugePages,
  MAP_FIXED,
  MAP_SHARED,
  OWN_MACHINE,
  PROT_NONE,
  PROT_READ,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_IOMMU_MAP_DMA,
  expect,
  mappingState,
  setModuleParameter,
  sys,
  test,
  type DmaMemory,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const IOVA = 0x100000n;
const PIN = 'drivers/vfio/vfio_iommu_type1.c vaddr_get_pfns()';
const PIN_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_map_dma()';
const READ = VFIO_DMA_MAP_FLAG_READ;
const WRITE = VFIO_DMA_MAP_FLAG_WRITE;

/** Takes one page out of the middle of memory. */
function punchHole(memory: DmaMemory, page: number): void {
  expect(sys.munmap(memory.address + BigInt(page) * PAGE, 4096)).toBe(0);
}

test(
  'container.map-dma.vaddr.unmapped',
  'an address without memory is refused with EFAULT and nothing is left',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN },
  ({ container }) => {
    const before = mappingState(container);
    for (const flags of [READ, WRITE, READ | WRITE]) {
      for (const vaddr of [0n, PAGE, 1n << 46n]) {
        expect(container.tryMapDma({ iova: IOVA, vaddr, size: PAGE, flags })).toFailWith('EFAULT');
        expect(mappingState(container)).toEqual(before);
      }
    }
    expect(container.unmapDma({ iova: 0n, size: 1n << 32n })).toBe(0n);
  },
);

test(
  'container.map-dma.vaddr.kernel',
  'an address of the kernel is refused with EFAULT',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN },
  ({ container }) => {
    const before = mappingState(container);
    for (const vaddr of [0xffff_8880_0000_0000n, 0xffff_ffff_8100_0000n, 0x8000_0000_0000_0000n]) {
      expect(container.tryMapDma({ iova: IOVA, vaddr, size: PAGE })).toFailWith('EFAULT');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.vaddr.no-access',
  'memory that the process may not touch cannot be mapped',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN },
  ({ container, memory }) => {
    const none = memory({ size: 4096, kind: '4k', prot: PROT_NONE });
    const before = mappingState(container);
    for (const flags of [READ, WRITE, READ | WRITE]) {
      const map = { iova: IOVA, vaddr: none.address, size: PAGE, flags };
      expect(container.tryMapDma(map)).toFailWith('EFAULT');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.vaddr.unpinnable',
  'memory of the kernel that is mapped like that of a device, and could not be kept, cannot be mapped for DMA',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN, since: '7.3', needs: [DMA_HEAP] },
  ({ container, defer }) => {
    const heap = heapMemory(4 * 4096);
    defer(() => heap.release());
    expect(sys.store(64, heap.address + PAGE, 1n)).toBe(0);
    const before = mappingState(container);
    for (const size of [PAGE, 4n * PAGE]) {
      const map = { iova: IOVA, vaddr: heap.address, size };
      expect(container.tryMapDma(map)).toFailWith('EFAULT');
      expect(container.tryMapDma({ ...map, flags: READ })).toFailWith('EFAULT');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

for (const kind of ['4k', 'memfd'] as const) {
  test(
    `container.map-dma.vaddr.read-only.${kind === '4k' ? 'anonymous' : kind}`,
    'memory that the process may only read can be mapped for reading, not for writing',
    {
      covers: [
        VFIO_IOMMU_MAP_DMA.fails('EFAULT'),
        VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_WRITE'),
      ],
      source: PIN,
    },
    ({ container, memory }) => {
      const ram = memory({ size: 2 * 4096, kind });
      sys.mprotect(ram.address, 8192, PROT_READ);
      const before = mappingState(container);
      for (const flags of [WRITE, READ | WRITE]) {
        const map = { iova: IOVA, vaddr: ram.address, size: 2n * PAGE, flags };
        expect(container.tryMapDma(map)).toFailWith('EFAULT');
        expect(mappingState(container)).toEqual(before);
      }
      const read = { iova: IOVA, vaddr: ram.address, size: 2n * PAGE, flags: READ };
      expect(container.tryMapDma(read)).toSucceed(0);
      expect(container.unmapDma({ iova: IOVA, size: 2n * PAGE })).toBe(2n * PAGE);
    },
  );
}

test(
  'container.map-dma.vaddr.partly-read-only',
  'a writable mapping whose last page is read-only is refused as a whole',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: '4k' });
    sys.mprotect(ram.address + 7n * PAGE, 4096, PROT_READ);
    const before = mappingState(container);
    const map = { iova: IOVA, vaddr: ram.address, size: 8n * PAGE };
    expect(container.tryMapDma(map)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    expect(container.tryMapDma({ ...map, size: 7n * PAGE })).toSucceed(0);
  },
);

for (const { name, pages, hole, words } of [
  { name: 'first', pages: 8, hole: 0, words: 'the first page' },
  { name: 'middle', pages: 8, hole: 4, words: 'a page in the middle' },
  { name: 'last', pages: 8, hole: 7, words: 'the last page' },
  { name: 'second-batch', pages: 700, hole: 600, words: 'a page after the first 512' },
  { name: 'batch-boundary', pages: 600, hole: 512, words: 'page 512' },
]) {
  test(
    `container.map-dma.hole.${name}`,
    `a mapping over memory that lacks ${words} is refused, and what was mapped of it is undone`,
    { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: [PIN_MAP, PIN] },
    ({ container, memory }) => {
      const ram = memory({ size: pages * 4096, kind: '4k' });
      punchHole(ram, hole);
      const before = mappingState(container);
      const map = { iova: IOVA, vaddr: ram.address, size: BigInt(pages) * PAGE };
      expect(container.tryMapDma(map)).toFailWith('EFAULT');
      expect(mappingState(container)).toEqual(before);
      expect(container.unmapDma({ iova: IOVA, size: map.size })).toBe(0n);
      // The IOMMU has no leftovers either: every page of the range can be mapped.
      const filler = memory({ size: pages * 4096, kind: '4k' });
      expect(container.tryMapDma({ ...map, vaddr: filler.address })).toSucceed(0);
      expect(container.unmapDma({ iova: IOVA, size: map.size })).toBe(map.size);
      expect(mappingState(container)).toEqual(before);
    },
  );
}

test(
  'container.map-dma.hole.behind-huge-page',
  'a mapping over a huge page and nothing behind it is refused, and the huge page is released',
  {
    covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')],
    source: PIN,
    needs: [hugePages(2048, 2)],
  },
  ({ container, memory }) => {
    const HUGE = 2 * 1024 * 1024;
    const ram = memory({ size: 2 * HUGE, kind: 'hugetlb-2m' });
    expect(sys.munmap(ram.address + BigInt(HUGE), HUGE)).toBe(0);
    const before = mappingState(container);
    // 512 pages are pinned at a time: all of the huge page, contiguous with what is asked for next.
    const map = { iova: IOVA, vaddr: ram.address, size: BigInt(HUGE) + PAGE };
    expect(container.tryMapDma(map)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    expect(container.tryMapDma({ ...map, size: BigInt(HUGE) })).toSucceed(0);
  },
);

test(
  'container.map-dma.hole.behind-file',
  'a mapping over a file that is shorter than its mapping is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EFAULT')], source: PIN },
  ({ container, memory, defer }) => {
    const file = memory({ size: 2 * 4096, kind: 'memfd' });
    const address = sys.mmap(0n, 4 * 4096, PROT_READ | 2, MAP_SHARED, file.fd, 0);
    defer(() => void sys.munmap(address, 4 * 4096));
    const before = mappingState(container);
    const map = { iova: IOVA, vaddr: address, size: 4n * PAGE };
    expect(container.tryMapDma(map)).toFailWith('EFAULT');
    expect(mappingState(container)).toEqual(before);
    expect(container.tryMapDma({ ...map, size: 2n * PAGE })).toSucceed(0);
  },
);

test(
  'container.map-dma.two-vmas',
  'one mapping may span memory areas of different kinds that lie side by side',
  { covers: [VFIO_IOMMU_MAP_DMA], source: PIN_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const file = memory({ size: 4096, kind: 'memfd' });
    const middle = ram.address + PAGE;
    const mapped = sys.mmap(middle, 4096, PROT_READ | 2, MAP_SHARED | MAP_FIXED, file.fd, 0);
    expect(mapped).toBe(middle);
    const before = mappingState(container);
    const map = { iova: IOVA, vaddr: ram.address, size: 4n * PAGE };
    expect(container.tryMapDma(map)).toSucceed(0);
    expect(mappingState(container).VmLck).toBe(before.VmLck + 16);
    expect(container.unmapDma({ iova: IOVA, size: 4n * PAGE })).toBe(4n * PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.map-dma.never-touched',
  'memory that was never touched is populated by mapping it',
  { covers: [VFIO_IOMMU_MAP_DMA], source: PIN },
  ({ container, memory }) => {
    const ram = memory({ size: 16 * 4096, kind: '4k', populate: false });
    const before = mappingState(container);
    const map = { iova: IOVA, vaddr: ram.address, size: 16n * PAGE };
    expect(container.tryMapDma(map)).toSucceed(0);
    expect(mappingState(container).VmLck).toBe(before.VmLck + 64);
    expect(ram.read(0, 4096).equals(Buffer.alloc(4096))).toBe(true);
    expect(container.unmapDma({ iova: IOVA, size: 16n * PAGE })).toBe(16n * PAGE);
    expect(mappingState(container)).toEqual(before);
  },
);

for (const pages of [1, 513]) {
  test(
    `container.disable-hugepages.${pages}-pages`,
    `with disable_hugepages a mapping of ${pages} pages is the same to its user`,
    {
      covers: [VFIO_IOMMU_MAP_DMA],
      source: 'drivers/vfio/vfio_iommu_type1.c vfio_pin_pages_remote()',
      needs: [OWN_MACHINE],
    },
    ({ container, memory, defer }) => {
      defer(setModuleParameter('vfio_iommu_type1', 'disable_hugepages', 'Y'));
      const ram = memory({ size: pages * 4096, kind: '4k' });
      const before = mappingState(container);
      const map = { iova: IOVA, vaddr: ram.address, size: BigInt(pages) * PAGE };
      expect(container.tryMapDma(map)).toSucceed(0);
      expect(mappingState(container)).toEqual({
        VmLck: before.VmLck + pages * 4,
        VmPin: before.VmPin,
        pinned: before.pinned === null ? null : before.pinned + pages,
        dmaAvail: before.dmaAvail! - 1,
      });
      expect(container.unmapDma({ iova: IOVA, size: map.size })).toBe(map.size);
      expect(mappingState(container)).toEqual(before);
      punchHole(ram, pages - 1);
      expect(container.tryMapDma(map)).toFailWith('EFAULT');
      expect(mappingState(container)).toEqual(before);
    },
  );
}
