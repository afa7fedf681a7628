import { isBenchDirectory, readBench } from '../bench/directory.ts';
import { decodeHistogram, type Bucket } from '../bench/latency.ts';
import { resultsDirectories } from '../runs.ts';
import type { ReportBench } from './data.ts';

/** Ratio of the bounds of a bucket: finer than anyone sees in a plot. */
const BUCKET = 1.03;

/**
 * Reads the benchmarks of results directories, or of folders that hold such, the oldest first.
 * @throws UsageError naming a path where no results are
 */
export function findBenches(paths: readonly string[]): ReportBench[] {
  return resultsDirectories(paths)
    .filter(isBenchDirectory)
    .map(readReportBench)
    .sort((a, b) => a.results.run.started.localeCompare(b.results.run.started));
}

/** Reads the benchmarks of one results directory. @throws UsageError if it has none */
export function readReportBench(directory: string): ReportBench {
  const results = readBench(directory);
  const sampled = results.benchmarks.filter(({ histogram }) => histogram !== '');
  const distributions = Object.fromEntries(
    sampled.map(({ id, histogram }) => [id, coarser(decodeHistogram(histogram))]),
  );
  const benchmarks = results.benchmarks.map((bench) => ({ ...bench, histogram: '' }));
  return { directory, results: { ...results, benchmarks }, distributions };
}

/** Joins buckets that lie closer together than {@link BUCKET}. */
function coarser(buckets: readonly Bucket[]): Bucket[] {
  const counts = new Map<number, number>();
  for (const [ns, samples] of buckets) {
    const step = Math.round(Math.log(Math.max(ns, 1)) / Math.log(BUCKET));
    counts.set(step, (counts.get(step) ?? 0) + samples);
  }
  return [...counts].map(([step, samples]) => [Math.round(BUCKET ** step), samples]);
}
