import { readFileSync } from 'node:fs';
import {
  INTEL_IOMMU,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  Edu,
  expect,
  intelAddressWidth,
  mappingState,
  test,
  type Container,
  type IovaRange,
} from '../../harness/testing/index.ts';

const PAGE = 4096n;
const TOP = 1n << 64n;
const VALID = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_iova_dma_valid()';
const EXCLUDE = 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_resv_exclude()';
const RANGE = VFIO_IOMMU_GET_INFO.capability('VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE');

/** The regions of a group that are not for DMA, as the IOMMU core tells. */
function reservedRegions(group: string): IovaRange[] {
  return readFileSync(`/sys/kernel/iommu_groups/${group}/reserved_regions`, 'utf8')
    .trim()
    .split('\n')
    .filter((line) => line && !line.endsWith('direct-relaxable'))
    .map((line) => line.split(' '))
    .map(([start, end]) => ({ start: BigInt(start!), end: BigInt(end!) }));
}

/** What is left of 0…end without the reserved regions. */
function complement(reserved: IovaRange[], end: bigint): IovaRange[] {
  const ranges: IovaRange[] = [];
  let start = 0n;
  for (const hole of [...reserved].sort((a, b) => (a.start < b.start ? -1 : 1))) {
    if (hole.start > end) break;
    if (hole.start > start) ranges.push({ start, end: hole.start - 1n });
    if (hole.end + 1n > start) start = hole.end + 1n;
  }
  if (start <= end) ranges.push({ start, end });
  return ranges;
}

/** The ranges between the usable ones, and the one behind the last. */
function holes(container: Container): IovaRange[] {
  const ranges = container.iovaRanges();
  return ranges.map(({ end }, index) => ({
    start: end + 1n,
    end: index + 1 < ranges.length ? ranges[index + 1]!.start - 1n : TOP - 1n,
  }));
}

test(
  'container.iova-ranges.sorted',
  'the IOVA ranges are sorted, apart from each other, and consist of whole pages',
  { covers: [RANGE], source: EXCLUDE, peer: ['L9'] },
  ({ container }) => {
    const ranges = container.iovaRanges();
    expect(ranges.length).toBeGreaterThan(0);
    ranges.forEach(({ start, end }, index) => {
      expect(start).toBeLessThan(end);
      expect(start % PAGE).toBe(0n);
      expect((end + 1n) % PAGE).toBe(0n);
      if (index > 0) expect(start).toBeGreaterThan(ranges[index - 1]!.end + 1n);
    });
  },
);

test(
  'container.iova-ranges.complement',
  'the IOVA ranges are all of the aperture but the reserved regions of the group',
  { covers: [RANGE], source: EXCLUDE },
  ({ container, pci }) => {
    const ranges = container.iovaRanges();
    const last = ranges.at(-1)!.end;
    expect(ranges).toEqual(complement(reservedRegions(pci.group!), last));
  },
);

test(
  'container.iova-ranges.aperture',
  'the last IOVA is the last of the address width of the IOMMU',
  { covers: [RANGE], source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_aper_resize()' },
  ({ container }) => {
    const end = container.iovaRanges().at(-1)!.end;
    // Address widths are whole numbers of bits.
    expect((end + 1n) & end).toBe(0n);
    expect(end).toBeGreaterThanOrEqual((1n << 32n) - 1n);
  },
);

test(
  'container.iova-ranges.aperture.intel',
  'the IOVA ranges reach to the last address for which an Intel IOMMU has page tables',
  {
    covers: [RANGE],
    source: 'drivers/vfio/vfio_iommu_type1.c vfio_iommu_aper_resize()',
    needs: [INTEL_IOMMU],
  },
  ({ container }) => {
    const end = container.iovaRanges().at(-1)!.end;
    expect(end).toBeGreaterThanOrEqual((1n << BigInt(intelAddressWidth())) - 1n);
  },
);

test(
  'container.iova-ranges.first-and-last-page',
  'the first and the last page of each IOVA range can be mapped and unmapped',
  { covers: [VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA], source: VALID, peer: ['S16'] },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    for (const { start, end } of container.iovaRanges()) {
      for (const iova of [start, end + 1n - PAGE]) {
        expect(container.tryMapDma({ iova, vaddr: ram.address, size: PAGE })).toSucceed(0);
        expect(container.unmapDma({ iova, size: PAGE })).toBe(PAGE);
      }
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.iova-ranges.outside',
  'the first and the last page outside each IOVA range are refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: VALID, fixes: ['f9423606ade0'] },
  ({ container, memory }) => {
    const ram = memory({ size: 4096, kind: '4k' });
    const before = mappingState(container);
    for (const { start, end } of holes(container)) {
      if (start === TOP) continue;
      for (const iova of [start, end + 1n - PAGE]) {
        const map = { iova, vaddr: ram.address, size: PAGE };
        expect(container.tryMapDma(map)).toFailWith('EINVAL');
      }
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.iova-ranges.across-an-edge',
  'a mapping that begins in an IOVA range and ends outside, or the other way round, is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: VALID },
  ({ container, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const before = mappingState(container);
    for (const { start, end } of holes(container)) {
      if (start === TOP) continue;
      const across = { iova: start - PAGE, vaddr: ram.address, size: 2n * PAGE };
      expect(container.tryMapDma(across)).toFailWith('EINVAL');
      if (end === TOP - 1n) continue;
      const into = { iova: end + 1n - PAGE, vaddr: ram.address, size: 2n * PAGE };
      expect(container.tryMapDma(into)).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.iova-ranges.over-a-hole',
  'a mapping that begins in one IOVA range and ends in the next is refused',
  { covers: [VFIO_IOMMU_MAP_DMA.fails('EINVAL')], source: VALID },
  ({ container, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const before = mappingState(container);
    for (const { start, end } of holes(container)) {
      if (end === TOP - 1n) continue;
      const size = end + 1n - start + 2n * PAGE;
      const map = { iova: start - PAGE, vaddr: ram.address, size };
      expect(container.tryMapDma(map)).toFailWith('EINVAL');
    }
    expect(mappingState(container)).toEqual(before);
  },
);

test(
  'container.iova-ranges.touching-the-hole',
  'mappings may end and begin right at a reserved region',
  { covers: [VFIO_IOMMU_MAP_DMA], source: [VALID, EXCLUDE] },
  ({ container, memory }) => {
    const ram = memory({ size: 16 * 4096, kind: '4k' });
    for (const { start, end } of holes(container)) {
      const size = 16n * PAGE;
      const below = { iova: start - size, vaddr: ram.address, size };
      expect(container.tryMapDma(below)).toSucceed(0);
      if (end !== TOP - 1n) {
        const above = { iova: end + 1n, vaddr: ram.address, size };
        expect(container.tryMapDma(above)).toSucceed(0);
        expect(container.unmapDma({ iova: above.iova, size })).toBe(size);
      }
      expect(container.unmapDma({ iova: below.iova, size })).toBe(size);
    }
  },
);

test(
  'container.iova-ranges.unmap-outside',
  'an unmap outside of the IOVA ranges is a correct call that finds nothing',
  { covers: [VFIO_IOMMU_UNMAP_DMA], source: 'drivers/vfio/vfio_iommu_type1.c vfio_dma_do_unmap()' },
  ({ container }) => {
    for (const { start, end } of holes(container)) {
      if (start === TOP) continue;
      expect(container.unmapDma({ iova: start, size: PAGE })).toBe(0n);
      expect(container.unmapDma({ iova: end + 1n - PAGE, size: PAGE })).toBe(0n);
    }
  },
);

test(
  'container.iova-ranges.device-at-the-edges',
  'the device reaches the first and the last page of the IOVA ranges',
  { covers: [VFIO_IOMMU_MAP_DMA], source: VALID, device: 'edu' },
  ({ container, device, memory }) => {
    const ram = memory({ size: 2 * 4096, kind: '4k' });
    const ranges = container.iovaRanges();
    const first = ranges[0]!.start;
    const last = ranges.at(-1)!.end + 1n - PAGE;
    container.mapDma({ iova: first, vaddr: ram.address, size: PAGE });
    container.mapDma({ iova: last, vaddr: ram.address + PAGE, size: PAGE });
    const edu = new Edu(device);
    ram.fill(0xed6e, 0, 4096);
    edu.readMemory(first, 4096);
    edu.writeMemory(last, 4096);
    expect(ram.verify(0xed6e, 4096, 4096)).toBe(-1);
    edu.unmap();
  },
);

test(
  'container.iova-ranges.groups',
  'the IOVA ranges of two groups are those that both can use, and grow back when one leaves',
  {
    covers: [RANGE],
    source: [
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_type1_attach_group()',
      'drivers/vfio/vfio_iommu_type1.c vfio_iommu_resv_refresh()',
    ],
    device: 'edu',
    uses: ['edu-rp'],
  },
  ({ container, openGroup, bound }) => {
    const alone = container.iovaRanges();
    const end = alone.at(-1)!.end;
    openGroup('edu-rp').setContainer(container);
    const reserved = ['edu', 'edu-rp'].flatMap((role) => reservedRegions(bound(role).group!));
    expect(container.iovaRanges()).toEqual(complement(reserved, end));
    openGroup('edu-rp').unsetContainer();
    expect(container.iovaRanges()).toEqual(alone);
  },
);
