import * as hdr from 'hdr-histogram-js';
import { expect, it } from 'vitest';
import type { BenchMeta } from '../../harness/protocol/bench.ts';
import type { JournalEvent } from '../journal.ts';
import { asLines, sampleTest } from '../samples.ts';
import { reduceBenchJournal } from './reduce.ts';
import { renderBench } from './text.ts';

const META: BenchMeta = {
  ...sampleTest('container.dma'),
  operations: ['map', 'unmap'],
  parameters: { size: 4096, threads: 1 },
  units: { pages: 1 },
};

const METHOD = {
  rounds: 2,
  roundMs: 1,
  roundSamples: 100,
  warmUpMs: 0,
  plantedDelay: 0,
  confidence: 0.95,
};

function round(number: number, samples: number[], reference = false): JournalEvent {
  return {
    type: 'bench-round',
    id: 'container.dma.map',
    round: number,
    samples,
    reference,
    stealMs: 0,
    preemptions: 0,
  };
}

const END = { durationMs: 1, skip: [], kernelLog: [] };
const hundred = Array.from({ length: 100 }, (_, index) => 1000 + index);

function journal(...events: JournalEvent[]) {
  return asLines([
    {
      type: 'bench-begin',
      schema: 1,
      version: '0',
      command: [],
      kernel: '7.3.4',
      machine: 'default',
      target: {},
      method: METHOD,
      interleaved: null,
      benchmarks: [META],
    },
    { type: 'test-begin', id: META.id, nonce: '' },
    ...events,
    { type: 'run-end', outcome: 'finished', reason: '' },
  ]);
}

it('keeps every sample, names the outliers and compares with the C program', () => {
  const { benchmarks } = reduceBenchJournal(
    journal(
      round(0, hundred),
      round(0, [1000, 1050, 1100], true),
      round(1, [...hundred.slice(1), 900_000]),
      round(1, [1000, 1050, 1100], true),
      { type: 'test-end', id: META.id, status: 'pass', ...END },
    ),
  );
  const [map, unmap] = benchmarks;
  expect(map).toMatchObject({
    id: 'container.dma.map',
    operation: 'map',
    samples: 200,
    outlierCount: 1,
  });
  expect(map?.outliers).toEqual([{ round: 1, index: 99, ns: 900_000 }]);
  expect(map?.summary).toMatchObject({ min: 1000, max: 900_000, mad: 25 });
  expect(map?.summary?.p50).toBeCloseTo(1050, 0);
  const histogram = hdr.decodeFromCompressedBase64(map!.histogram);
  expect(histogram.totalCount).toBe(200);
  expect(histogram.getValueAtPercentile(50)).toBeCloseTo(1050, -1);
  expect(map?.fidelity).toMatchObject({ samples: 6, p50: 1050, agrees: true });
  expect(unmap).toMatchObject({ summary: null, histogram: '', samples: 0 });
});

it('forgets what a benchmark measured before it was begun again', () => {
  const { benchmarks } = reduceBenchJournal(
    journal(
      round(0, hundred),
      { type: 'test-begin', id: META.id, nonce: '' },
      round(0, [5, 5, 5]),
      { type: 'test-end', id: META.id, status: 'pass', ...END },
    ),
  );
  expect(benchmarks[0]?.samples).toBe(3);
});

it('says why something has no figures', () => {
  const results = reduceBenchJournal(
    journal({ type: 'test-end', id: META.id, status: 'skip', ...END, skip: ['no huge pages'] }),
  );
  expect(results.benchmarks[0]).toMatchObject({ status: 'skip', detail: 'no huge pages' });
  expect(renderBench(results)).toContain('container.dma.map: skip: no huge pages');
});
