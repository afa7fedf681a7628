import { expect, it } from 'vitest';
import type { BenchResult } from '../bench-results.ts';
import { renderSplits, splits } from './split.ts';

/** An operation of which only the median matters. */
function measured(id: string, p50: number): BenchResult {
  return { id, parameters: { iommu: 'type1v2' }, summary: { p50 } } as unknown as BenchResult;
}

const MAPPING = [
  measured('container.dma.4k.4KiB.warm.map', 10_000),
  measured('container.dma.4k.4KiB.warm.unmap', 4000),
];

it('takes off what was measured beside the mapping', () => {
  const [split] = splits([
    ...MAPPING,
    measured('container.dma.4k.4KiB.cold.map', 12_000),
    measured('container.floor.fault-in.4k.4KiB', 1500),
    measured('container.floor.io-uring.4k.4KiB.pin', 3000),
    measured('container.floor.io-uring.4k.4KiB.unpin', 500),
    measured('container.inside.4k.4KiB.iommu-map', 900),
    measured('container.inside.4k.4KiB.map-flush', 1300),
    measured('container.inside.4k.4KiB.iommu-unmap', 1400),
    measured('container.inside.4k.4KiB.unmap-flush', 800),
  ]);
  expect(split).toEqual({
    pages: '4k',
    size: '4KiB',
    cold: 12_000,
    faultIn: 1500,
    map: { whole: 10_000, pin: 3000, table: 900, flush: 1300, rest: 4800 },
    unmap: { whole: 4000, pin: 500, table: 1400, flush: 800, rest: 1300 },
  });
});

it('leaves in the rest what was not measured', () => {
  const [split] = splits([...MAPPING, measured('container.inside.4k.4KiB.unmap-flush', 800)]);
  expect(split?.map).toEqual({ whole: 10_000, pin: null, table: null, flush: null, rest: 10_000 });
  expect(split?.unmap.rest).toBe(3200);
  expect(renderSplits([split!]).join('\n')).toMatch(/4k 4KiB +4 µs +800 ns +3\.2 µs$/);
});

it('says nothing of mapping alone', () => {
  expect(splits(MAPPING)).toEqual([]);
  expect(renderSplits([])).toEqual([]);
});
