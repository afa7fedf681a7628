import { readBench } from '../../reports/bench/directory.ts';
import { compareBenches, regressed, renderBenchComparison } from '../../reports/bench/compare.ts';

/**
 * Prints how each of the later runs compares with the first.
 * @returns whether something became slower by the threshold
 */
export function printBenchComparisons(
  [first, ...others]: readonly [string, ...string[]],
  { json, threshold }: { json: boolean; threshold: number },
): boolean {
  const baseline = readBench(first);
  const comparisons = others.map((other) => compareBenches(baseline, readBench(other), threshold));
  process.stdout.write(
    json
      ? JSON.stringify({ schema: 1, comparisons }, null, 2) + '\n'
      : comparisons.map(renderBenchComparison).join('\n'),
  );
  return comparisons.some(regressed);
}
