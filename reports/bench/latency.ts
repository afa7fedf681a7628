import * as hdr from 'hdr-histogram-js';
import { mean, medianAbsoluteDeviation, quantileSorted } from 'simple-statistics';
import type { BenchRound, LatencySummary, Outlier } from '../bench-results.ts';
import { medianInterval } from './statistics.ts';

/** A round with its samples. */
export interface SampledRound extends BenchRound {
  ns: readonly number[];
}

/** So many nanoseconds or a little more, in so many samples. */
export type Bucket = [ns: number, samples: number];

const SIGNIFICANT_DIGITS = 3;
/** An hour: HDR histograms need a bound. */
const HIGHEST_NS = 3_600_000_000_000;
/** Deviations from the median, in units of the median deviation, from which on a sample is named. */
const OUTLIER_DEVIATIONS = 10;
/** Part of the median that a deviation counts at least: a clock that counts instructions knows none. */
const LEAST_DEVIATION = 0.01;
const NAMED_OUTLIERS = 10;

/** The figures of all rounds together. */
export function summarize(rounds: readonly SampledRound[], confidence: number): LatencySummary {
  const sorted = Float64Array.from(rounds.flatMap(({ ns }) => ns)).sort();
  const samples = [...sorted];
  const at = (quantile: number) => quantileSorted(samples, quantile);
  const interval = (pick: (round: BenchRound) => number) =>
    medianInterval(rounds.map(pick), confidence);
  return {
    min: at(0),
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    p999: at(0.999),
    max: at(1),
    mean: mean(samples),
    mad: medianAbsoluteDeviation(samples),
    intervals: {
      p50: interval(({ p50 }) => p50),
      p90: interval(({ p90 }) => p90),
      p99: interval(({ p99 }) => p99),
    },
  };
}

/** The figures of one round. */
export function quantiles(ns: readonly number[]): Pick<BenchRound, 'p50' | 'p90' | 'p99'> {
  const sorted = ns.toSorted((a, b) => a - b);
  const at = (quantile: number) => quantileSorted(sorted, quantile);
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

/** The samples far above the median: the farthest by name, and how many there are. */
export function outliers(
  rounds: readonly SampledRound[],
  { p50, mad }: Pick<LatencySummary, 'p50' | 'mad'>,
): { named: Outlier[]; count: number } {
  const bound = p50 + OUTLIER_DEVIATIONS * Math.max(mad, LEAST_DEVIATION * p50);
  const all = rounds.flatMap(({ ns }, round) =>
    ns.flatMap((value, index) => (value > bound ? [{ round, index, ns: value }] : [])),
  );
  const named = all.sort((a, b) => b.ns - a.ns).slice(0, NAMED_OUTLIERS);
  return { named, count: all.length };
}

/** All samples as an HDR histogram in the encoding that all its implementations read. */
export function encodeHistogram(rounds: readonly SampledRound[]): string {
  const histogram = hdr.build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_NS,
    numberOfSignificantValueDigits: SIGNIFICANT_DIGITS,
  });
  for (const { ns } of rounds) for (const value of ns) histogram.recordValue(Math.round(value));
  return hdr.encodeIntoCompressedBase64(histogram);
}

/** The samples of such a histogram, as exactly as it keeps them, the fastest first. */
export function decodeHistogram(text: string): Bucket[] {
  const histogram = hdr.decodeFromCompressedBase64(text) as hdr.JsHistogram;
  const buckets: Bucket[] = [];
  const values = histogram.recordedValuesIterator;
  values.reset();
  while (values.hasNext()) {
    const { valueIteratedTo, countAtValueIteratedTo } = values.next();
    buckets.push([valueIteratedTo, countAtValueIteratedTo]);
  }
  return buckets;
}
