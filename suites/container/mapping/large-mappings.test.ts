import {
  ERRNO,
  MADV_COLLAPSE,
  MADV_HUGEPAGE,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
  Program,
  SIGCONT,
  SIGKILL,
  SIGSTOP,
  SIGUSR2,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1v2_IOMMU,
  addMapDma,
  addUnmapDma,
  dmaMemory,
  dmaProbe,
  expect,
  mappingState,
  sys,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096;
const P = 4096n;
const MIB = 0x10_0000;
const BASE = 0x1_0000_0000n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const DO_UNMAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()';
const PIN_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_pin_map_dma()';
const LOCK = 'drivers/vfio/vfio_iommu_type1.c vfio_lock_acct()';
const ALL = { iova: 0n, size: 0n, flags: VFIO_DMA_UNMAP_FLAG_ALL };
const covers = [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA];

/** The orders in which single pages are mapped and unmapped. */
const ORDERS = [
  { name: 'forwards', words: 'forwards', order: (pages: number[]) => pages },
  { name: 'backwards', words: 'backwards', order: (pages: number[]) => [...pages].reverse() },
  {
    name: 'checkerboard',
    words: 'every second first',
    order: (pages: number[]) => [
      ...pages.filter((page) => page % 2 === 0),
      ...pages.filter((page) => page % 2 === 1),
    ],
  },
  {
    name: 'checkerboard-backwards',
    words: 'every second first, backwards',
    order: (pages: number[]) => [
      ...pages.filter((page) => page % 2 === 1).reverse(),
      ...pages.filter((page) => page % 2 === 0).reverse(),
    ],
  },
] as const;

for (const { name, words, order } of ORDERS) {
  test(
    `container.large-mappings.page-by-page.${name}`,
    `512 single pages are mapped and unmapped ${words}: each is there once, and gone after its unmap`,
    { covers, source: [DO_MAP, DO_UNMAP], peer: ['A2'] },
    ({ container, memory }) => {
      const PAGES = 512;
      const ram = memory({ size: PAGES * PAGE, kind: '4k' });
      const before = mappingState(container);
      const pages = order(Array.from({ length: PAGES }, (_, page) => page));
      const range = (page: number) => ({ iova: BASE + BigInt(page) * P, size: P });
      const mapping = new Program();
      const maps = pages.map((page) => {
        const map = { ...range(page), vaddr: ram.address + BigInt(page) * P };
        return [
          addMapDma(mapping, container.fd, map),
          addMapDma(mapping, container.fd, map),
        ] as const;
      });
      mapping.run();
      for (const [first, second] of maps) {
        expect(mapping.result(first)).toBe(0);
        expect(mapping.result(second)).toBe(-ERRNO.EEXIST);
      }
      expect(container.dmaAvail()).toBe(before.dmaAvail! - PAGES);
      const unmapping = new Program();
      const unmaps = pages.map((page) => [
        addUnmapDma(unmapping, container.fd, range(page)),
        addUnmapDma(unmapping, container.fd, range(page)),
      ]);
      unmapping.run();
      for (const [first, second] of unmaps) {
        expect(unmapping.result(first!.ref)).toBe(0);
        expect(first!.size()).toBe(P);
        expect(unmapping.result(second!.ref)).toBe(0);
        expect(second!.size()).toBe(0n);
      }
      expect(mappingState(container)).toEqual(before);
    },
  );
}

test(
  'container.large-mappings.whole',
  'a large mapping is refused a second time, and unmapped as one',
  { covers, source: [DO_MAP, DO_UNMAP], peer: ['A3'] },
  ({ container, memory }) => {
    const ram = memory({ size: 64 * MIB, kind: 'thp' });
    const size = BigInt(ram.size);
    const before = mappingState(container);
    const map = { iova: BASE, vaddr: ram.address, size };
    expect(container.tryMapDma(map)).toSucceed(0);
    expect(container.tryMapDma(map)).toFailWith('EEXIST');
    expect(container.unmapDma({ iova: BASE, size })).toBe(size);
    expect(container.unmapDma({ iova: BASE, size })).toBe(0n);
    expect(mappingState(container)).toEqual(before);
  },
);

for (const { name, words, type } of [
  { name: '', words: '', type: VFIO_TYPE1v2_IOMMU },
  { name: '.v1', words: ' on a v1 container', type: VFIO_TYPE1_IOMMU },
]) {
  test(
    `container.large-mappings.many-then-one-unmap${name}`,
    `thousands of single mappings go with one unmap${words}, round after round, of small and of huge pages`,
    { covers, source: DO_UNMAP, peer: ['A4'] },
    ({ containerOfType, memory }) => {
      const PAGES = 2048;
      const container = containerOfType(type);
      const ram = memory({ size: PAGES * PAGE, kind: '4k', align: 2 * MIB });
      const before = mappingState(container);
      for (let round = 0; round < 2; round++) {
        const program = new Program();
        const maps = Array.from({ length: PAGES }, (_, page) =>
          addMapDma(program, container.fd, {
            iova: BASE + BigInt(page) * P,
            vaddr: ram.address + BigInt(page) * P,
            size: P,
          }),
        );
        program.run();
        expect(maps.filter((map) => program.result(map) !== 0)).toEqual([]);
        expect(container.dmaAvail()).toBe(before.dmaAvail! - PAGES);
        const size = BigInt(PAGES) * P;
        expect(container.unmapDma({ iova: BASE, size })).toBe(size);
        expect(mappingState(container)).toEqual(before);
        // A wish: the kernel may have no huge page to give.
        sys.madvise(ram.address, ram.size, MADV_HUGEPAGE);
        sys.madvise(ram.address, ram.size, MADV_COLLAPSE);
      }
    },
  );
}

test(
  'container.large-mappings.ends',
  'a mapping of 256 MiB leads to its memory from the first page to the last, and stalls nothing',
  {
    covers,
    source: [PIN_MAP, 'drivers/vfio/vfio_iommu_type1.c vfio_pin_pages_remote()'],
    fixes: ['b1779e4f209c'],
    device: 'nvme',
  },
  (context) => {
    const { container, memory } = context;
    const ram = memory({ size: 256 * MIB, kind: 'thp' });
    const probe = dmaProbe(context);
    const before = mappingState(container);
    const size = BigInt(ram.size);
    container.mapDma({ iova: BASE, vaddr: ram.address, size });
    const after = mappingState(container);
    expect(after.VmLck + after.VmPin - before.VmLck - before.VmPin).toBe(ram.size / 1024);
    const pages = [0, 1, 511, 512, 513, 32767, 32768, 65534, 65535];
    const places = pages.map((page) => ({
      iova: BASE + BigInt(page) * P,
      phase: page * PAGE,
    }));
    for (const page of pages) ram.fill(1, page * PAGE, PAGE, page * PAGE);
    expect(probe.misses(1, places)).toEqual([]);
    expect(container.unmapDma({ iova: BASE, size })).toBe(size);
    expect(mappingState(container)).toEqual(before);
  },
);

/** A mapping of untouched memory by another process: slow enough to be interrupted. */
function slowMap(
  fd: number,
  size: bigint,
): { program: Program; map: ReturnType<typeof addMapDma> } {
  const program = new Program();
  const flags = MAP_PRIVATE | MAP_ANONYMOUS;
  const vaddr = program.syscall('mmap', 0, size, PROT_READ | PROT_WRITE, flags, -1, 0);
  return { program, map: addMapDma(program, fd, { iova: BASE, vaddr, size }) };
}

/** Bytes that another process maps when it is killed, and when it is stopped. */
const KILLED = 128 * MIB;
const STOPPED = 64 * MIB;

for (const delay of [1, 10, 60]) {
  test(
    `container.large-mappings.killed.${delay}ms`,
    `a process that is killed ${delay} ms after it began to map leaves a whole mapping or none`,
    { covers: [VFIO_IOMMU_MAP_DMA], source: [PIN_MAP, LOCK], needs: [dmaMemory(KILLED)] },
    ({ container, actor }) => {
      const size = BigInt(KILLED);
      const before = mappingState(container);
      const owner = actor({ inheritFds: [container.fd] });
      owner.start(slowMap(container.fd, size).program);
      sys.poll([], delay);
      owner.kill(SIGKILL);
      const avail = container.dmaAvail()!;
      const unmapped = container.unmapDma(ALL);
      expect([0n, size]).toContain(unmapped);
      expect(avail).toBe(unmapped === 0n ? before.dmaAvail : before.dmaAvail! - 1);
      expect(mappingState(container)).toEqual(before);
    },
  );
}

test(
  'container.large-mappings.stopped',
  'a process that is stopped and continued while it maps gets its mapping, whole',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [PIN_MAP, LOCK], needs: [dmaMemory(STOPPED)] },
  ({ container, actor }) => {
    const size = BigInt(STOPPED);
    const before = mappingState(container);
    const owner = actor({ inheritFds: [container.fd] });
    const { program, map } = slowMap(container.fd, size);
    owner.start(program);
    for (let round = 0; round < 5; round++) {
      sys.poll([], 2);
      owner.kill(SIGSTOP);
      sys.poll([], 2);
      owner.kill(SIGCONT);
    }
    owner.join();
    expect(program.result(map)).toBe(0);
    expect(container.unmapDma({ iova: BASE, size })).toBe(size);
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.large-mappings.signals',
  'signals that the process handles do not keep it from its mapping, which is whole',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [PIN_MAP, LOCK], needs: [dmaMemory(STOPPED)] },
  ({ container, actor, defer, memory }) => {
    const ram = memory({ size: STOPPED, kind: '4k', populate: false });
    const size = BigInt(STOPPED);
    const before = mappingState(container);
    const ignore = () => undefined;
    process.on('SIGUSR2', ignore);
    defer(() => void process.off('SIGUSR2', ignore));
    const sender = actor();
    const program = new Program();
    const signal = program.syscall('kill', process.pid, SIGUSR2);
    program.spin(200_000);
    const all = program.repeat(signal, 2000);
    sender.start(program);
    const map = container.tryMapDma({ iova: BASE, vaddr: ram.address, size });
    sender.join();
    expect(program.result(all)).toBe(0);
    expect(map).toSucceed(0);
    const { VmLck, VmPin } = mappingState(container);
    expect(VmLck + VmPin - before.VmLck - before.VmPin).toBe(STOPPED / 1024);
    expect(container.unmapDma({ iova: BASE, size })).toBe(size);
    expect(mappingState(container)).toEqual(before);
  },
);
