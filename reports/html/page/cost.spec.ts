import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { BenchResult, BenchResults } from '../../bench-results.ts';
import type { BenchRow } from './bench-model.ts';
import { ALL, choicesOf, costFamilies, costPoints, firstChoices, unitsOf } from './cost.ts';

const sample = join(import.meta.dirname, '../../bench/samples/bench.json');
const [template] = (JSON.parse(readFileSync(sample, 'utf8')) as BenchResults).benchmarks as [
  BenchResult,
];

function row(parameters: BenchResult['parameters'], id = 'container.dma.x.map'): BenchRow {
  const units = { bytes: Number(parameters['size'] ?? 0) };
  return { bench: { ...template, id, parameters, units }, run: 0 };
}

describe('cost over size', () => {
  const rows = [4096, 65536].flatMap((size) =>
    ['4k', 'thp', 'memfd'].flatMap((pages) =>
      [1, 2, 4].map((threads) => row({ size, pages, threads })),
    ),
  );
  const [family] = costFamilies(rows) as [ReturnType<typeof costFamilies>[number]];

  it('is plotted along the parameter that matters most, operation by operation', () => {
    const others = [2, 8].map((vectors) => row({ kind: 'msi', vectors }, 'irq.enable.map'));
    const alone = row({ size: 4096 }, 'container.lock.map');
    const families = costFamilies([...rows, ...others, alone]);
    expect(families.map(({ name, axis }) => [name, axis])).toEqual([
      ['container.dma map', 'size'],
      ['irq.enable map', 'vectors'],
    ]);
  });

  it('has a series for each combination of what is left open', () => {
    expect(choicesOf(family).map(([name]) => name)).toEqual(['pages', 'threads']);
    const series = (chosen: Record<string, string>) => [
      ...new Set(costPoints(family, chosen, 'call', ['7.3.4']).map((point) => point.series)),
    ];
    expect(series({})).toHaveLength(9);
    expect(series({ pages: 'thp', threads: ALL })).toEqual(['threads 1', 'threads 2', 'threads 4']);
    expect(series({ pages: 'thp', threads: '2' })).toEqual(['p50']);
    expect(firstChoices([family])).toEqual({ threads: '1' });
  });

  it('can be counted by what a call handles', () => {
    expect(unitsOf(family)).toEqual(['call', 'bytes']);
    const [point] = costPoints(family, {}, 'bytes', ['7.3.4']);
    expect(point?.y).toBeCloseTo((template.summary!.p50 * 2 ** 30) / 4096);
    expect(costPoints(family, {}, 'pages', ['7.3.4'])).toEqual([]);
  });
});
