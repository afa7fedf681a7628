import { isFailure } from '../../compare.ts';
import { failureTitle, familyOf } from '../../failure-title.ts';
import type { TestResult } from '../../results.ts';
import type { ReportData } from '../data.ts';
import { groupBy } from './group-by.ts';

/** A test in a run: a row of the table of tests. */
export interface Row {
  test: TestResult;
  /** Index of its run. */
  run: number;
}

export function allRows({ runs }: Pick<ReportData, 'runs'>): Row[] {
  return runs.flatMap(({ results }, run) => results.tests.map((test) => ({ test, run })));
}

/** What names of runs are made of. */
interface RunFacts {
  kernel: string;
  machine: string;
  started: string;
}

/** Names of runs: the kernel, and of machine and time what it takes to tell them apart. */
export function runNames(runs: readonly RunFacts[]): string[] {
  const machines = new Set(runs.map(({ machine }) => machine));
  const short = runs.map(({ kernel, machine }) =>
    machines.size === 1 ? kernel : `${kernel} · ${machine}`,
  );
  return short.map((name, index) =>
    short.filter((other) => other === name).length === 1
      ? name
      : `${name} · ${moment(runs[index]!.started)}`,
  );
}

/** `2026-11-24 20:17` in UTC. */
export function moment(iso: string): string {
  return iso.slice(0, 16).replace('T', ' ');
}

/** The last run that has the test, unless another one is asked for. */
export function findRow(
  rows: readonly Row[],
  id: string,
  run: string | undefined,
): Row | undefined {
  const found = rows.filter((row) => row.test.id === id);
  return found.find((row) => String(row.run) === run) ?? found.at(-1);
}

/** What people have to look at, the gravest first: what ended badly and was not announced. */
export const GRAVITY = [
  'crash',
  'fail',
  'timeout',
  'error',
  'xpass',
  'xfail',
  'skip',
  'pass',
] as const satisfies readonly TestResult['status'][];

export function gravity({ status }: TestResult): number {
  return GRAVITY.indexOf(status);
}

/** Failures that share a title: the same bug, as far as one can tell. */
export interface Bug {
  title: string;
  rows: Row[];
}

/** What ended otherwise than by a pass or a skip, the same bug once, the gravest first. */
export function bugsOf(rows: readonly Row[]): Bug[] {
  const bad = rows.filter(({ test }) => isFailure(test) || test.status === 'xpass');
  const bugs = groupBy(bad, ({ test }) => failureTitle(test) ?? familyOf(test.id));
  const worst = (found: Row[]) => Math.min(...found.map(({ test }) => gravity(test)));
  return [...bugs]
    .map(([title, found]) => ({ title, rows: found }))
    .sort((a, b) => worst(a.rows) - worst(b.rows) || b.rows.length - a.rows.length);
}
