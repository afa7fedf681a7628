import type { BenchResult, BenchResults, BenchWarning } from '../bench-results.ts';
import { count, duration, oneLine } from '../text.ts';
import { renderSplits, splits } from './split.ts';
import { latency, table } from './table.ts';

const SHOWN = ['min', 'p50', 'p90', 'p99', 'p999', 'max', 'mad'] as const;

/** The results for people: a table a suite, then what is odd and what was not measured. */
export function renderBench({ run, benchmarks }: BenchResults): string {
  const { method } = run;
  const lines = [
    `Linux ${run.kernel} (${run.machine}), ${run.started}`,
    `${count(method.rounds, 'round')} of ${method.roundMs} ms or ${count(method.roundSamples, 'sample')}, ` +
      `each after ${method.warmUpMs} ms of warm-up; intervals hold with ${100 * method.confidence} %`,
    ...(run.outcome === 'finished' ? [] : [`${run.outcome}: ${run.reason}`]),
    ...warningLines(run.warnings),
  ];
  const measured = benchmarks.filter(({ summary }) => summary !== null);
  for (const suite of new Set(measured.map((bench) => bench.suite))) {
    const rows = measured.filter((bench) => bench.suite === suite).map(row);
    lines.push(
      '',
      ...table([['', ...SHOWN, 'p50 interval', 'a page', 'a GiB', 'samples'], ...rows]),
    );
  }
  lines.push(...renderSplits(splits(measured)));
  lines.push(...fidelityLines(measured), ...oddities(measured), ...unmeasured(benchmarks));
  lines.push('', `${count(measured.length, 'operation')} measured in ${duration(run.durationMs)}`);
  return lines.join('\n') + '\n';
}

function row({ id, summary, units, samples }: BenchResult): string[] {
  if (!summary) return [id];
  const [low, high] = summary.intervals.p50;
  const page = units.pages !== undefined && units.pages > 1 ? summary.p50 / units.pages : null;
  const gib = units.bytes !== undefined ? (summary.p50 / units.bytes) * 2 ** 30 : null;
  return [
    id,
    ...SHOWN.map((name) => latency(summary[name])),
    `${latency(low)}–${latency(high)}`,
    page === null ? '' : latency(page),
    gib === null ? '' : latency(gib),
    String(samples),
  ];
}

function fidelityLines(measured: readonly BenchResult[]): string[] {
  const compared = measured.filter(({ fidelity }) => fidelity !== null);
  if (compared.length === 0) return [];
  const rows = compared.map(({ id, summary, fidelity }) => [
    id,
    latency(summary?.p50 ?? 0),
    latency(fidelity?.p50 ?? 0),
    `${fidelity?.ratio.toFixed(3)}`,
    `${fidelity?.interval.map((bound) => bound.toFixed(3)).join('–')}`,
    fidelity?.agrees ? 'agrees' : 'differs',
  ]);
  return [
    '',
    'The same operations in a C program of their own, between the rounds:',
    ...table([['', 'p50', 'p50 in C', 'ratio', 'interval', ''], ...rows]),
  ];
}

function oddities(measured: readonly BenchResult[]): string[] {
  const odd = measured.filter(({ warnings }) => warnings.length > 0);
  const advice = new Set(odd.flatMap(({ warnings }) => warnings.map(({ next }) => next)));
  const far = measured.filter(({ outlierCount }) => outlierCount > 0);
  return [
    ...(odd.length > 0 ? ['', 'Beware:'] : []),
    ...[...advice].flatMap((next) => [
      `! ${next}:`,
      ...odd.flatMap(({ id, warnings }) =>
        warnings.filter((warning) => warning.next === next).map(({ text }) => `  ${id}: ${text}`),
      ),
    ]),
    ...(far.length > 0 ? ['', 'Outliers, part of all figures:'] : []),
    ...far.map(({ id, outliers, outlierCount, samples }) => {
      const named = outliers
        .slice(0, 3)
        .map(({ ns, round, index }) => `${latency(ns)} (round ${round}, sample ${index})`);
      return `  ${id}: ${outlierCount} of ${samples}; ${named.join(', ')}`;
    }),
  ];
}

function unmeasured(benchmarks: readonly BenchResult[]): string[] {
  const without = benchmarks.filter(({ status }) => status !== 'pass');
  if (without.length === 0) return [];
  return [
    '',
    'Not measured, or not to the end:',
    ...without.map(({ id, status, detail }) => `  ${id}: ${status}: ${oneLine(detail)}`),
  ];
}

function warningLines(warnings: readonly BenchWarning[]): string[] {
  return warnings.map(({ text, next }) => `! ${text} — ${next}`);
}
