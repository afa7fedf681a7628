import {
  Program,
  VFIO_IOMMU_MAP_DMA,
  addMapDma,
  addUnmapDma,
  expect,
  mappingState,
  test,
} from '../../../harness/testing/index.ts';

const PAGE = 4096n;
const DO_MAP = 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_map()';
const FIND = 'drivers/vfio/vfio_iommu_type1.c vfio_find_dma()';
const BASE = 0x100000n;

/** Where a second mapping would overlap one of 4 pages at {@link BASE}, in pages from its start. */
const OVERLAPS = [
  { name: 'exact', at: 0n, pages: 4n, words: 'the same range' },
  { name: 'first-page', at: 0n, pages: 1n, words: 'its first page' },
  { name: 'last-page', at: 3n, pages: 1n, words: 'its last page' },
  { name: 'inside', at: 1n, pages: 2n, words: 'pages inside it' },
  { name: 'around', at: -1n, pages: 6n, words: 'more on both sides' },
  { name: 'left-edge', at: -3n, pages: 4n, words: 'its start' },
  { name: 'right-edge', at: 3n, pages: 4n, words: 'its end' },
] as const;

for (const { name, at, pages, words } of OVERLAPS) {
  test(
    `container.map-dma.overlap.${name}`,
    `a mapping over an existing one, covering ${words}, is refused and leaves it intact`,
    { covers: [VFIO_IOMMU_MAP_DMA.fails('EEXIST')], source: [DO_MAP, FIND], peer: ['A2', 'A3'] },
    ({ container, memory }) => {
      const ram = memory({ size: 6 * 4096, kind: '4k' });
      container.mapDma({ iova: BASE, vaddr: ram.address, size: 4n * PAGE });
      const before = mappingState(container);
      const map = { iova: BASE + at * PAGE, vaddr: ram.address, size: pages * PAGE };
      expect(container.tryMapDma(map)).toFailWith('EEXIST');
      expect(mappingState(container)).toEqual(before);
      expect(container.unmapDma({ iova: BASE, size: 4n * PAGE })).toBe(4n * PAGE);
      expect(container.tryMapDma(map)).toSucceed(0);
    },
  );
}

test(
  'container.map-dma.overlap.touching-edges',
  'mappings that touch an existing one on either side are mappings of their own',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [DO_MAP, FIND] },
  ({ container, memory }) => {
    const ram = memory({ size: 4 * 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: 2n * PAGE });
    const left = { iova: BASE - PAGE, vaddr: ram.address, size: PAGE };
    const right = { iova: BASE + 2n * PAGE, vaddr: ram.address, size: PAGE };
    expect(container.tryMapDma(left)).toSucceed(0);
    expect(container.tryMapDma(right)).toSucceed(0);
    expect(container.unmapDma({ iova: left.iova, size: PAGE })).toBe(PAGE);
    expect(container.unmapDma({ iova: right.iova, size: PAGE })).toBe(PAGE);
    expect(container.unmapDma({ iova: BASE, size: 2n * PAGE })).toBe(2n * PAGE);
  },
);

test(
  'container.map-dma.overlap.several',
  'a mapping over several existing ones and the gaps between them is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EEXIST')], source: [DO_MAP, FIND] },
  ({ container, memory }) => {
    const ram = memory({ size: 16 * 4096, kind: '4k' });
    for (const at of [1n, 5n, 9n]) {
      container.mapDma({ iova: BASE + at * PAGE, vaddr: ram.address, size: PAGE });
    }
    const gap = (at: bigint, pages: bigint) => ({
      iova: BASE + at * PAGE,
      vaddr: ram.address,
      size: pages * PAGE,
    });
    expect(container.tryMapDma(gap(0n, 16n))).toFailWith('EEXIST');
    expect(container.tryMapDma(gap(2n, 4n))).toFailWith('EEXIST');
    expect(container.tryMapDma(gap(1n, 4n))).toFailWith('EEXIST');
    expect(container.tryMapDma(gap(2n, 3n))).toSucceed(0);
    expect(container.tryMapDma(gap(6n, 3n))).toSucceed(0);
    expect(container.unmapDma({ iova: BASE, size: 16n * PAGE })).toBe(9n * PAGE);
  },
);

test(
  'container.map-dma.overlap.existing-wins-over-range',
  'overlap is found before memory is looked at: nothing of the new vaddr is needed',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EEXIST')], source: DO_MAP },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    container.mapDma({ iova: BASE, vaddr: ram.address, size: PAGE });
    expect(container.tryMapDma({ iova: BASE, vaddr: 0n, size: PAGE })).toFailWith('EEXIST');
  },
);

/** A permutation of 0…count-1 without order, the same every time. */
function shuffled(count: number): number[] {
  const numbers = Array.from({ length: count }, (_, index) => index);
  let state = 0x2545f491;
  for (let index = count - 1; index > 0; index--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const other = state % (index + 1);
    [numbers[index], numbers[other]] = [numbers[other]!, numbers[index]!];
  }
  return numbers;
}

for (const { name, order, words } of [
  { name: 'ascending', order: Array.from({ length: 64 }, (_, i) => i), words: 'ascending' },
  { name: 'descending', order: Array.from({ length: 64 }, (_, i) => 63 - i), words: 'descending' },
  { name: 'shuffled', order: shuffled(64), words: 'random' },
]) {
  test(
    `container.map-dma.many.${name}`,
    `64 mappings made in ${words} order are all found, each by itself`,
    {
      covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_MAP_DMA.fails('EEXIST')],
      source: [FIND, 'drivers/vfio/vfio_iommu_type1.c vfio_link_dma()'],
      peer: ['A2'],
    },
    ({ container, memory }) => {
      const ram = memory({ size: 4096, kind: '4k' });
      const before = mappingState(container);
      const iovaOf = (index: number) => BASE + BigInt(index) * 2n * PAGE;
      const program = new Program();
      const map = (iova: bigint, pages = 1n) =>
        addMapDma(program, container.fd, { iova, vaddr: ram.address, size: pages * PAGE });
      const made = order.map((index) => map(iovaOf(index)));
      const again = order.map((index) => map(iovaOf(index)));
      const across = order.map((index) => map(iovaOf(index) - PAGE, 2n));
      const gaps = order.map((index) =>
        addUnmapDma(program, container.fd, { iova: iovaOf(index) + PAGE, size: PAGE }),
      );
      const removed = [...order]
        .reverse()
        .map((index) => addUnmapDma(program, container.fd, { iova: iovaOf(index), size: PAGE }));
      const gone = order.map((index) =>
        addUnmapDma(program, container.fd, { iova: iovaOf(index), size: PAGE }),
      );
      program.run();
      expect(made.map((ref) => program.result(ref))).toEqual(order.map(() => 0));
      expect(again.map((ref) => program.result(ref))).toEqual(order.map(() => -17));
      expect(across.map((ref) => program.result(ref))).toEqual(order.map(() => -17));
      const answers = (unmaps: typeof gaps) =>
        unmaps.map(({ ref, size }) => [program.result(ref), size()]);
      expect(answers(gaps)).toEqual(order.map(() => [0, 0n]));
      expect(answers(removed)).toEqual(order.map(() => [0, PAGE]));
      expect(answers(gone)).toEqual(order.map(() => [0, 0n]));
      expect(mappingState(container)).toEqual(before);
    },
  );
}

test(
  'container.map-dma.many.checkerboard',
  'holes made in a row of mappings can be filled again, and only they',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EEXIST')], source: [FIND, DO_MAP], peer: ['A2'] },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const COUNT = 64;
    const iovaOf = (index: number) => BASE + BigInt(index) * PAGE;
    const program = new Program();
    const fd = container.fd;
    const map = (index: number) =>
      addMapDma(program, fd, { iova: iovaOf(index), vaddr: ram.address, size: PAGE });
    const all = Array.from({ length: COUNT }, (_, index) => index);
    const first = all.map(map);
    const holes = all
      .filter((index) => index % 2 === 1)
      .map((index) => addUnmapDma(program, fd, { iova: iovaOf(index), size: PAGE }));
    const second = all.map(map);
    const rest = addUnmapDma(program, fd, { iova: BASE, size: BigInt(COUNT) * PAGE });
    program.run();
    expect(first.map((ref) => program.result(ref))).toEqual(all.map(() => 0));
    expect(holes.map(({ size }) => size())).toEqual(holes.map(() => PAGE));
    expect(second.map((ref) => program.result(ref))).toEqual(
      all.map((index) => (index % 2 === 1 ? 0 : -17)),
    );
    expect(program.result(rest.ref)).toBe(0);
    expect(rest.size()).toBe(BigInt(COUNT) * PAGE);
  },
);
