import {
  MAP_FIXED,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
  Program,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  expect,
  kernelAtLeast,
  lockedMemory,
  mappingState,
  sys,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const KIB_PER_PAGE = 4;
const IOVA = 0x100000n;
const PIN = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_pages_remote()';
const UNPIN = 'drivers/vfio/vfio_iommu_type1.c vfio_unmap_unpin()';
const ACCOUNT = 'drivers/vfio/vfio_iommu_type1.c vfio_lock_acct()';

/** 512 pages are pinned at a time: sizes around that and its multiples. */
for (const pages of [1, 2, 511, 512, 513, 1025]) {
  test(
    `container.locked-memory.exact.${pages}-pages`,
    `a mapping of ${pages} pages adds exactly these to the locked memory, until it is unmapped`,
    { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: [PIN, UNPIN, ACCOUNT] },
    ({ container, memory }) => {
      const ram = memory({ size: pages * 4096, kind: '4k' });
      const size = BigInt(pages) * PAGE;
      const before = mappingState(container);
      container.mapDma({ iova: IOVA, vaddr: ram.address, size });
      expect(mappingState(container)).toEqual({
        VmLck: before.VmLck + pages * KIB_PER_PAGE,
        VmPin: before.VmPin,
        pinned: before.pinned === null ? null : before.pinned + pages,
        dmaAvail: before.dmaAvail! - 1,
      });
      expect(container.unmapDma({ iova: IOVA, size })).toBe(size);
      expect(mappingState(container)).toEqual(before);
    },
  );
}

test(
  'container.locked-memory.several',
  'locked memory follows each mapping and unmapping, one range over several mappings included',
  { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: [PIN, UNPIN] },
  ({ container, memory }) => {
    const ram = memory({ size: 16 * 4096, kind: '4k' });
    const before = lockedMemory().VmLck;
    let pages = 0;
    for (const count of [1, 2, 4, 8]) {
      const iova = IOVA + BigInt(count) * 0x10000n;
      container.mapDma({ iova, vaddr: ram.address, size: BigInt(count) * PAGE });
      pages += count;
      expect(lockedMemory().VmLck).toBe(before + pages * KIB_PER_PAGE);
    }
    container.unmapDma({ iova: IOVA + 0x20000n, size: 2n * PAGE });
    expect(lockedMemory().VmLck).toBe(before + 13 * KIB_PER_PAGE);
    container.unmapDma({ iova: IOVA + 0x40000n, size: 0x50000n });
    expect(lockedMemory().VmLck).toBe(before + KIB_PER_PAGE);
    container.unmapDma({ iova: 0n, size: IOVA + 0x20000n });
    expect(lockedMemory().VmLck).toBe(before);
  },
);

test(
  'container.locked-memory.same-page-twice',
  'memory that is mapped at two IOVAs counts twice',
  { covers: [VFIO_IOMMU_MAP_DMA], source: PIN },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const before = lockedMemory().VmLck;
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 4n * PAGE });
    container.mapDma({ iova: 2n * IOVA, vaddr: ram.address, size: 4n * PAGE });
    expect(lockedMemory().VmLck).toBe(before + 8 * KIB_PER_PAGE);
    container.unmapDma({ iova: IOVA, size: 4n * PAGE });
    expect(lockedMemory().VmLck).toBe(before + 4 * KIB_PER_PAGE);
    container.unmapDma({ iova: 2n * IOVA, size: 4n * PAGE });
    expect(lockedMemory().VmLck).toBe(before);
  },
);

test(
  'container.locked-memory.read-only-never-written',
  'a read-only mapping of memory that was never written leaves nothing locked and nothing pinned',
  {
    covers: [VFIO_IOMMU_MAP_DMA.flag('VFIO_DMA_MAP_FLAG_READ')],
    source: [PIN, 'drivers/vfio/vfio_iommu_type1.c is_invalid_reserved_pfn()'],
    fixes: ['873aefb376bb (pins of the zero page that were never released)'],
  },
  ({ container, memory }) => {
    const ram = memory({ size: 8 * 4096, kind: 'zero' });
    const before = mappingState(container);
    const map = { iova: IOVA, vaddr: ram.address, size: 8n * PAGE, flags: VFIO_DMA_MAP_FLAG_READ };
    for (let round = 0; round < 4; round++) {
      container.mapDma(map);
      // Since 6.2 a long-term pin gives each page its own memory; before, it is the zero page.
      if (kernelAtLeast('6.2')) {
        expect(lockedMemory().VmLck).toBe(before.VmLck + 8 * KIB_PER_PAGE);
      }
      expect(container.unmapDma({ iova: IOVA, size: 8n * PAGE })).toBe(8n * PAGE);
      expect(mappingState(container)).toEqual(before);
    }
  },
);

test(
  'container.locked-memory.with-mlock',
  'mlock and mappings of the same memory are counted side by side',
  { covers: [VFIO_IOMMU_MAP_DMA], source: ACCOUNT, peer: ['A16'] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const before = lockedMemory().VmLck;
    const KIB = 4 * KIB_PER_PAGE;
    expect(sys.call('mlock', ram.address, 4 * 4096)).toBe(0);
    expect(lockedMemory().VmLck).toBe(before + KIB);
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 4n * PAGE });
    expect(lockedMemory().VmLck).toBe(before + 2 * KIB);
    expect(sys.call('munlock', ram.address, 4 * 4096)).toBe(0);
    expect(lockedMemory().VmLck).toBe(before + KIB);
    expect(sys.call('mlock', ram.address, 4 * 4096)).toBe(0);
    container.unmapDma({ iova: IOVA, size: 4n * PAGE });
    expect(lockedMemory().VmLck).toBe(before + KIB);
    expect(sys.call('munlock', ram.address, 4 * 4096)).toBe(0);
    expect(lockedMemory().VmLck).toBe(before);
  },
);

test(
  'container.locked-memory.munmap-behind',
  'memory that the process unmaps or replaces behind a mapping stays counted until the DMA unmap',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: UNPIN },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    const before = lockedMemory().VmLck;
    container.mapDma({ iova: IOVA, vaddr: ram.address, size: 4n * PAGE });
    expect(sys.munmap(ram.address, 2 * 4096)).toBe(0);
    const third = ram.address + 2n * PAGE;
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    expect(sys.mmap(third, 4096, PROT_READ | PROT_WRITE, flags, -1, 0)).toBe(third);
    expect(lockedMemory().VmLck).toBe(before + 4 * KIB_PER_PAGE);
    expect(container.unmapDma({ iova: IOVA, size: 4n * PAGE })).toBe(4n * PAGE);
    expect(lockedMemory().VmLck).toBe(before);
  },
);

test(
  'container.locked-memory.scattered',
  'each page of physically scattered memory is counted once',
  { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: [PIN, UNPIN] },
  ({ container, memory }) => {
    // More pieces than are unmapped between two flushes of the IOTLB (512), twice.
    const PAGES = 1100;
    const ram = memory({ size: PAGES * 4096, kind: '4k' });
    const file = memory({ size: PAGES * 4096, kind: 'memfd' });
    const program = new Program().stopOnError();
    for (let page = 0; page < PAGES; page++) {
      const address = ram.address + BigInt(page) * PAGE;
      const offset = ((page * 7) % PAGES) * 4096;
      const prot = PROT_READ | PROT_WRITE;
      program.syscall('mmap', address, 4096, prot, MAP_SHARED | MAP_FIXED, file.fd, offset);
    }
    expect(program.run().executed).toBe(PAGES);
    const before = mappingState(container);
    const size = BigInt(PAGES) * PAGE;
    for (let round = 0; round < 2; round++) {
      container.mapDma({ iova: IOVA, vaddr: ram.address, size });
      expect(lockedMemory().VmLck).toBe(before.VmLck + PAGES * KIB_PER_PAGE);
      expect(container.unmapDma({ iova: IOVA, size })).toBe(size);
      expect(mappingState(container)).toEqual(before);
    }
  },
);

for (const kind of ['thp', 'memfd'] as const) {
  test(
    `container.locked-memory.kind.${kind}`,
    `memory of the kind ${kind} is counted and pinned page by page`,
    { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: [PIN, UNPIN] },
    ({ container, memory }) => {
      const SIZE = 4 * 1024 * 1024;
      const ram = memory({ size: SIZE, kind });
      const before = mappingState(container);
      // Off the boundary of a huge page on both sides.
      const vaddr = ram.address + PAGE;
      const size = BigInt(SIZE) - 2n * PAGE;
      container.mapDma({ iova: IOVA, vaddr, size });
      const mapped = mappingState(container);
      expect(mapped.VmLck).toBe(before.VmLck + Number(size) / 1024);
      if (before.pinned !== null) expect(mapped.pinned! - before.pinned).toBe(Number(size / PAGE));
      expect(container.unmapDma({ iova: IOVA, size })).toBe(size);
      expect(mappingState(container)).toEqual(before);
    },
  );
}
