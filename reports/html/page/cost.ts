import type { BenchResult } from '../../bench-results.ts';
import { parameterText, type BenchRow, isMeasured } from './bench-model.ts';

/** Benchmarks that differ in the value of one axis and in choices beside it: one plot. */
export interface CostFamily {
  /** Suite and operation: `container.map`. */
  name: string;
  /** The parameter to plot along. */
  axis: string;
  rows: BenchRow[];
}

/** A point of a cost plot. */
export interface CostPoint {
  x: number;
  /** Nanoseconds, the median and the bounds of its interval. */
  y: number;
  low: number;
  high: number;
  series: string;
  id: string;
}

/** What a cost can be counted by. */
export type CostUnit = 'call' | keyof BenchResult['units'];

/** Axes that are worth more than others: what the cost of memory depends on. */
const PREFERRED_AXES = ['size', 'mappings', 'vectors', 'groups', 'threads'];

/** The plots that some benchmarks make: those whose parameters have a number with two values at least. */
export function costFamilies(rows: readonly BenchRow[]): CostFamily[] {
  const measured = rows.filter(({ bench }) => isMeasured(bench));
  const groups = Map.groupBy(measured, ({ bench }) => {
    const names = Object.keys(bench.parameters).sort();
    return JSON.stringify([bench.suite, bench.operation, ...names]);
  });
  return [...groups.values()].flatMap((found) => {
    const [{ bench } = found[0]!] = found;
    const axes = Object.keys(bench.parameters).filter((name) => isAxis(found, name));
    const axis = PREFERRED_AXES.find((name) => axes.includes(name)) ?? axes[0];
    return axis === undefined
      ? []
      : [{ name: `${bench.suite}.${bench.operation}`, axis, rows: found }];
  });
}

function isAxis(rows: readonly BenchRow[], name: string): boolean {
  const values = rows.map(({ bench }) => bench.parameters[name]);
  return values.every((value) => typeof value === 'number') && new Set(values).size > 1;
}

/** The other parameters of a family that have more than one value, with their values. */
export function choicesOf({ axis, rows }: CostFamily): [name: string, values: string[]][] {
  const names = Object.keys(rows[0]?.bench.parameters ?? {}).filter((name) => name !== axis);
  return names
    .map((name): [string, string[]] => [
      name,
      [...new Set(rows.map(({ bench }) => parameterText(name, bench.parameters[name] ?? '')))],
    ])
    .filter(([, values]) => values.length > 1);
}

/**
 * The points of a family, a series for each combination of what is not chosen.
 * @param chosen values of parameters by name; what is not named, or empty, is not restricted
 * @param names of the runs; they are part of a series if there are several
 */
export function costPoints(
  family: CostFamily,
  chosen: Readonly<Record<string, string>>,
  unit: CostUnit,
  names: readonly string[],
): CostPoint[] {
  const choices = choicesOf(family).map(([name]) => name);
  return family.rows.flatMap(({ bench, run }): CostPoint[] => {
    if (!isMeasured(bench)) return [];
    const text = (name: string) => parameterText(name, bench.parameters[name] ?? '');
    if (choices.some((name) => chosen[name] && chosen[name] !== text(name))) return [];
    const count = unitCount(bench, unit);
    if (count === undefined) return [];
    const open = choices.filter((name) => !chosen[name]).map(text);
    const { p50, intervals } = bench.summary;
    return [
      {
        x: Number(bench.parameters[family.axis]),
        y: p50 / count,
        low: intervals.p50[0] / count,
        high: intervals.p50[1] / count,
        series: [...open, ...(names.length > 1 ? [names[run] ?? ''] : [])].join(' · ') || 'p50',
        id: bench.id,
      },
    ];
  });
}

/** A unit as one says it: the cost of a byte is too small for words. */
export const UNIT_WORDS: Record<CostUnit, string> = {
  call: 'call',
  bytes: 'GiB',
  pages: 'page',
  mappings: 'mapping',
  interrupts: 'interrupt',
};

function unitCount({ units }: BenchResult, unit: CostUnit): number | undefined {
  if (unit === 'call') return 1;
  const count = units[unit];
  return unit === 'bytes' && count !== undefined ? count / 2 ** 30 : count;
}

/** What the costs of a family can be counted by. */
export function unitsOf({ rows }: CostFamily): CostUnit[] {
  const units = new Set(rows.flatMap(({ bench }) => Object.keys(bench.units)));
  return ['call', ...([...units] as CostUnit[])];
}
