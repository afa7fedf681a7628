/** Material for the tests of the HTML report. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectFolder } from '../../setup/paths.mjs';
import type { BenchResult, BenchResults } from '../../reports/bench-results.ts';
import { encodeHistogram } from '../../reports/bench/latency.ts';
import { JOURNAL_FILE } from '../../reports/journal.ts';

const SAMPLE = join(projectFolder, 'reports/bench/samples/bench.json');
const SIZES = [12, 16, 20, 24, 28].map((power) => 2 ** power);

/**
 * Writes a results directory of benchmarks: a recorded one, with the cost of mapping memory of several
 * sizes and page kinds made from it.
 * @param factor by which mapping is slower than it was recorded
 */
export function writeBenchDirectory(directory: string, kernel: string, factor: number): string {
  const results = JSON.parse(readFileSync(SAMPLE, 'utf8')) as BenchResults;
  const [template] = results.benchmarks as [BenchResult];
  results.run.kernel = kernel;
  results.benchmarks.push(
    ...SIZES.flatMap((size) =>
      ['4k', 'thp', '2m'].map((pages) => scaled(template, size, pages, factor)),
    ),
  );
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'bench.json'), JSON.stringify(results));
  writeFileSync(join(directory, JOURNAL_FILE), '');
  return directory;
}

function scaled(template: BenchResult, size: number, pages: string, factor: number): BenchResult {
  const scale = factor * (pages === '4k' ? (size / 4096) ** 0.9 : (size / 4096) ** 0.4);
  const { summary } = template;
  if (!summary) throw new Error('the sample has no figures');
  const times = <T extends number[]>(values: T) => values.map((ns) => ns * scale) as T;
  const { p50, p90, p99 } = summary.intervals;
  const rounds = template.rounds.map((round, index) => {
    const ns = Array.from({ length: 50 }, (_, n) => summary.p50 * scale * (1 + n / 500));
    // The recorded rounds are noisier than a comparison could see through.
    return { ...round, p50: summary.p50 * scale * (1 + index / 500), ns };
  });
  return {
    ...template,
    id: `container.dma.${pages}.${size}.warm.map`,
    parameters: { size, pages, state: 'warm' },
    units: { bytes: size, pages: size / 4096 },
    summary: {
      ...summary,
      p50: summary.p50 * scale,
      p90: summary.p90 * scale,
      p99: summary.p99 * scale,
      intervals: { p50: times(p50), p90: times(p90), p99: times(p99) },
    },
    rounds: rounds.map(({ ns: _, ...round }) => round),
    samples: rounds.length * 50,
    histogram: encodeHistogram(rounds),
  };
}
