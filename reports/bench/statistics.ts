import { median, quantileSorted, sampleWithReplacement } from 'simple-statistics';
import { seededRandom } from '../random.ts';
import type { Interval } from '../bench-results.ts';

/** Enough that another seed moves a bound by less than what is printed of it. */
const RESAMPLES = 2000;

/**
 * The bootstrap interval of the median of some values: percentile method, always the same for the same
 * values.
 */
export function medianInterval(values: readonly number[], confidence: number): Interval {
  return bootstrap([values], ([sample = []]) => median(sample), confidence);
}

/** The bootstrap interval of median(b) / median(a) of independent values. */
export function ratioInterval(
  a: readonly number[],
  b: readonly number[],
  confidence: number,
): Interval {
  return bootstrap([a, b], ([left = [], right = []]) => median(right) / median(left), confidence);
}

/** Resamples each group by itself. */
function bootstrap(
  groups: readonly (readonly number[])[],
  statistic: (samples: number[][]) => number,
  confidence: number,
): Interval {
  const random = seededRandom('bootstrap');
  const found = Array.from({ length: RESAMPLES }, () =>
    statistic(groups.map((group) => sampleWithReplacement([...group], group.length, random))),
  ).sort((x, y) => x - y);
  const tail = (1 - confidence) / 2;
  return [quantileSorted(found, tail), quantileSorted(found, 1 - tail)];
}
