import type { BenchResult, LatencySummary } from '../../bench-results.ts';
import { latency } from '../../bench/table.ts';
import type { ReportBench } from '../data.ts';
import { runNames } from './model.ts';

/** A benchmark in a run: a row of the table of benchmarks. */
export interface BenchRow {
  bench: BenchResult;
  /** Index of its run among the runs of benchmarks. */
  run: number;
}

/** A benchmark with figures. */
export type Measured = BenchResult & { summary: LatencySummary };

export function isMeasured(bench: BenchResult): bench is Measured {
  return bench.summary !== null;
}

export function benchRows(benches: readonly ReportBench[]): BenchRow[] {
  return benches.flatMap(({ results }, run) => results.benchmarks.map((bench) => ({ bench, run })));
}

/** Names of the runs of benchmarks. */
export function benchNames(benches: readonly ReportBench[]): string[] {
  return runNames(benches.map(({ results }) => results.run));
}

/** `4 KiB`, `2 MiB`: of a power of two, as sizes of memory are. */
function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = Math.min(Math.floor(Math.log2(Math.max(n, 1)) / 10), units.length - 1);
  return `${Number((n / 2 ** (10 * step)).toPrecision(3))} ${units[step]}`;
}

/** A value of a parameter as people write it. */
export function parameterText(name: string, value: string | number): string {
  return name === 'size' && typeof value === 'number' ? bytes(value) : String(value);
}

/** `10.3–11.9 µs`. */
export function intervalText([low, high]: readonly [number, number]): string {
  return `${latency(low)} – ${latency(high)}`;
}
