import type { BenchResult } from '../../bench-results.ts';
import { parameterText, type BenchRow, isMeasured } from './bench-model.ts';
import { groupBy } from './group-by.ts';

/** Benchmarks that differ in the value of one axis and in choices beside it: one plot. */
export interface CostFamily {
  /** What is operated on, and the operation: `container.dma map`. */
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
  const groups = groupBy(measured, ({ bench }) => {
    const names = Object.keys(bench.parameters).sort();
    return JSON.stringify([subjectOf(bench), bench.operation, ...names]);
  });
  return [...groups.values()].flatMap((found) => {
    const [{ bench } = found[0]!] = found;
    const axes = Object.keys(bench.parameters).filter((name) => isAxis(found, name));
    const axis = PREFERRED_AXES.find((name) => axes.includes(name)) ?? axes[0];
    return axis === undefined
      ? []
      : [{ name: `${subjectOf(bench)} ${bench.operation}`, axis, rows: found }];
  });
}

/** The beginning of the id: `device.config` of `device.config.command.read`. */
function subjectOf({ id }: BenchResult): string {
  return id.split('.', 2).join('.');
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
      [...new Set(rows.map(({ bench }) => textOf(bench, name)))],
    ])
    .filter(([, values]) => values.length > 1);
}

/** Stands for every value of a parameter. */
export const ALL = 'all';

/** More lines than this in a plot are no longer told apart. */
const MOST_SERIES = 8;

/**
 * What to choose of each parameter for a first look: with too many series only one parameter stays
 * open, the one with most values, and of the others the most frequent value is taken.
 */
export function firstChoices(families: readonly CostFamily[]): Record<string, string> {
  const crowded = families.filter((family) => seriesOf(family).length > MOST_SERIES);
  return Object.fromEntries(
    crowded.flatMap((family) => {
      const [, ...others] = choicesOf(family).sort(([, a], [, b]) => b.length - a.length);
      return others.map(([name]) => [name, mostFrequent(family, name)]);
    }),
  );
}

function seriesOf(family: CostFamily): string[] {
  const names = choicesOf(family).map(([name]) => name);
  const texts = family.rows.map(({ bench }) => names.map((name) => textOf(bench, name)).join());
  return [...new Set(texts)];
}

function mostFrequent({ rows }: CostFamily, name: string): string {
  const groups = [...groupBy(rows, ({ bench }) => textOf(bench, name))];
  return groups.sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? '';
}

function textOf({ parameters }: BenchResult, name: string): string {
  return parameterText(name, parameters[name] ?? '');
}

/**
 * The points of a family, a series for each combination of what is not chosen.
 * @param chosen values of parameters by name; what is not named, or {@link ALL}, is not restricted
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
    const isOpen = (name: string) => (chosen[name] ?? ALL) === ALL;
    if (choices.some((name) => !isOpen(name) && chosen[name] !== textOf(bench, name))) return [];
    const count = unitCount(bench, unit);
    if (count === undefined) return [];
    const open = choices.filter(isOpen).map((name) => {
      const text = textOf(bench, name);
      return typeof bench.parameters[name] === 'number' ? `${name} ${text}` : text;
    });
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

/** How many of a unit a call handles; undefined if it makes no sense. */
export function unitCount({ units }: BenchResult, unit: CostUnit): number | undefined {
  if (unit === 'call') return 1;
  const count = units[unit];
  return unit === 'bytes' && count !== undefined ? count / 2 ** 30 : count;
}

/** What the costs of a family can be counted by. */
export function unitsOf({ rows }: CostFamily): CostUnit[] {
  const units = new Set(rows.flatMap(({ bench }) => Object.keys(bench.units)));
  return ['call', ...([...units] as CostUnit[])];
}
