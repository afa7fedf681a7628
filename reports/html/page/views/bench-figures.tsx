import type { BenchResult } from '../../../bench-results.ts';
import { latency } from '../../../bench/table.ts';
import { intervalText, isMeasured, parameterText, type Measured } from '../bench-model.ts';
import { UNIT_WORDS, unitCount, type CostUnit } from '../cost.ts';
import { FactList, type Facts } from '../fact-list.tsx';

/** All figures of a benchmark, and what it was measured with. */
export function BenchFigures({ bench }: { bench: BenchResult }) {
  const facts: Facts = [
    ['samples', String(bench.samples)],
    ...(isMeasured(bench) ? latencies(bench) : []),
    ...outliersOf(bench),
    ...fidelityOf(bench),
    ...Object.entries(bench.parameters).map(([name, value]): Facts[number] => [
      name,
      parameterText(name, value),
    ]),
    ['file', bench.file],
  ];
  return <FactList facts={facts} />;
}

function latencies(bench: Measured): Facts {
  const { summary, units } = bench;
  const withInterval = (name: 'p50' | 'p90' | 'p99'): Facts[number] => [
    name,
    `${latency(summary[name])} (${intervalText(summary.intervals[name])})`,
  ];
  const shares = (Object.keys(units) as CostUnit[]).map((unit): Facts[number] => [
    `p50 a ${UNIT_WORDS[unit]}`,
    latency(summary.p50 / (unitCount(bench, unit) ?? 1)),
  ]);
  return [
    ['min', latency(summary.min)],
    withInterval('p50'),
    withInterval('p90'),
    withInterval('p99'),
    ['p99.9', latency(summary.p999)],
    ['max', latency(summary.max)],
    ['MAD', latency(summary.mad)],
    ...shares,
  ];
}

function outliersOf({ outlierCount, outliers }: BenchResult): Facts {
  if (outlierCount === 0) return [];
  const farthest = outliers.map(({ ns }) => latency(ns)).join(', ');
  return [['outliers', `${outlierCount}, the farthest ${farthest}`]];
}

/** What an independent C program measured of the same operation. */
function fidelityOf({ fidelity }: BenchResult): Facts {
  if (!fidelity) return [];
  const verdict = fidelity.agrees ? 'agrees' : 'differs';
  return [['p50 in C', `${latency(fidelity.p50)}, ratio ${fidelity.ratio.toFixed(3)}: ${verdict}`]];
}
