import { median } from 'simple-statistics';
import type { BenchResult, BenchResults, BenchWarning, Interval } from '../bench-results.ts';
import { comparedRun, type ComparedRun } from '../compared-run.ts';
import { count } from '../text.ts';
import { medianInterval, ratioInterval } from './statistics.ts';
import { latency, table } from './table.ts';

/** What a comparison can say of one operation, the gravest first. */
export const VERDICTS = {
  slower: 'slower',
  faster: 'faster',
  noisy: 'too noisy to tell',
  same: 'no difference shown',
} as const;

export type Verdict = keyof typeof VERDICTS;

/** One operation in both runs. */
export interface OperationComparison {
  id: string;
  /** Medians in ns. */
  a: number;
  b: number;
  /** b over a. */
  ratio: number;
  interval: Interval;
  verdict: Verdict;
}

export interface BenchComparison {
  a: ComparedRun;
  b: ComparedRun;
  /** Per cent from which on a difference counts. */
  threshold: number;
  /** Whether the rounds of both alternated, so that each has its counterpart. */
  interleaved: boolean;
  operations: OperationComparison[];
  /** The same of what VFIO has no part in: a difference here is one of the machine, or of the whole kernel. */
  machine: OperationComparison[];
  /** Ids with figures in one of the runs only. */
  onlyA: string[];
  onlyB: string[];
  warnings: BenchWarning[];
}

/** Wider than what is shown elsewhere: a run has hundreds of operations, of which none may be accused by chance. */
const CONFIDENCE = 0.99;
/** What measures the machine and not VFIO. */
const MACHINE = 'harness';

/**
 * Compares medians. Rounds that alternated are compared pair by pair; otherwise the rounds of each run
 * by themselves.
 * @param threshold per cent
 */
export function compareBenches(
  a: BenchResults,
  b: BenchResults,
  threshold: number,
): BenchComparison {
  const interleaved = a.run.interleaved !== null && a.run.interleaved.id === b.run.interleaved?.id;
  const measured = ({ benchmarks }: BenchResults) =>
    new Map(benchmarks.flatMap((bench) => (bench.summary ? [[bench.id, bench] as const] : [])));
  const before = measured(a);
  const after = measured(b);
  const operations = [...before].flatMap(([id, left]) => {
    const right = after.get(id);
    return right ? [compareOperation(left, right, threshold, interleaved)] : [];
  });
  const [machine, vfio] = partition(operations, ({ id }) => id.startsWith(`${MACHINE}.`));
  const warnings = interleaved ? [] : otherMachine(machine, a, b);
  return {
    a: comparedRun(a.run),
    b: comparedRun(b.run),
    threshold,
    interleaved,
    operations: warnings.length > 0 ? vfio.map(doubted) : vfio,
    machine,
    onlyA: [...before.keys()].filter((id) => !after.has(id)),
    onlyB: [...after.keys()].filter((id) => !before.has(id)),
    warnings,
  };
}

function compareOperation(
  a: BenchResult,
  b: BenchResult,
  threshold: number,
  interleaved: boolean,
): OperationComparison {
  const left = a.rounds.map(({ p50 }) => p50);
  const right = b.rounds.map(({ p50 }) => p50);
  const paired = interleaved && left.length === right.length;
  const ratios = paired ? left.map((value, round) => right[round]! / value) : [];
  const ratio = paired ? median(ratios) : median(right) / median(left);
  const interval = paired
    ? medianInterval(ratios, CONFIDENCE)
    : ratioInterval(left, right, CONFIDENCE);
  return {
    id: a.id,
    a: median(left),
    b: median(right),
    ratio,
    interval,
    verdict: judge(ratio, interval, 1 + threshold / 100),
  };
}

/**
 * A difference is claimed if the ratio reaches the threshold and all of the interval half of it: two boots
 * of one kernel differ by a per cent or two. It is denied if the interval has no room for one of twice the
 * threshold.
 */
function judge(ratio: number, [low, high]: Interval, limit: number): Verdict {
  const half = Math.sqrt(limit);
  if (ratio >= limit && low >= half) return 'slower';
  if (ratio <= 1 / limit && high <= 1 / half) return 'faster';
  return high < limit * limit && low > 1 / (limit * limit) ? 'same' : 'noisy';
}

function partition<T>(items: readonly T[], belongs: (item: T) => boolean): [T[], T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))];
}

/** Of runs at different times, what VFIO has no part in must have taken as long in both. */
function otherMachine(
  machine: readonly OperationComparison[],
  a: BenchResults,
  b: BenchResults,
): BenchWarning[] {
  const warnings: BenchWarning[] = [];
  const moved = machine.filter(({ verdict }) => verdict === 'slower' || verdict === 'faster');
  for (const { id, ratio } of moved) {
    warnings.push({
      text: `the machine itself was ${ratio > 1 ? 'slower' : 'faster'} in B: ${id} by a factor of ${ratio.toFixed(2)}`,
      next: 'measure both in turn: bench --kernel A --kernel B',
    });
  }
  const cpu = ({ run }: BenchResults) => `${run.machine}, ${String(run.environment['cpu'])}`;
  if (cpu(a) !== cpu(b)) {
    warnings.push({
      text: `they were measured on different machines: ${cpu(a)}; ${cpu(b)}`,
      next: 'measure both on one machine',
    });
  }
  return warnings;
}

function doubted(operation: OperationComparison): OperationComparison {
  return operation.verdict === 'same' ? operation : { ...operation, verdict: 'noisy' };
}

/** Whether something became slower by the threshold. */
export function regressed({ operations }: BenchComparison): boolean {
  return operations.some(({ verdict }) => verdict === 'slower');
}

/** The comparison for people, the gravest first. */
export function renderBenchComparison(comparison: BenchComparison): string {
  const { a, b, threshold, interleaved, operations, warnings } = comparison;
  const lines = [
    `A: Linux ${a.kernel} (${a.machine}), ${a.started}`,
    `B: Linux ${b.kernel} (${b.machine}), ${b.started}`,
    `${interleaved ? 'round by round in turn' : 'one after the other'}; ` +
      `differences from ${threshold} % on count, intervals hold with ${100 * CONFIDENCE} %`,
    ...warnings.map(({ text, next }) => `! ${text} — ${next}`),
  ];
  for (const [verdict, words] of Object.entries(VERDICTS)) {
    const found = operations.filter((operation) => operation.verdict === verdict);
    if (found.length > 0) lines.push('', `${words} (${found.length}):`, ...rows(found));
  }
  lines.push('', 'without VFIO:', ...rows(comparison.machine));
  for (const [where, ids] of [
    ['A', comparison.onlyA],
    ['B', comparison.onlyB],
  ] as const) {
    if (ids.length > 0) lines.push('', `only in ${where} (${ids.length}): ${ids.join(', ')}`);
  }
  lines.push('', `${count(operations.length, 'operation')} compared`);
  return lines.join('\n') + '\n';
}

function rows(operations: readonly OperationComparison[]): string[] {
  const cells = operations.map(({ id, a, b, ratio, interval }) => [
    `  ${id}`,
    latency(a),
    latency(b),
    ratio.toFixed(3),
    interval.map((bound) => bound.toFixed(3)).join('–'),
  ]);
  return table([['', 'A', 'B', 'B/A', ''], ...cells]);
}
