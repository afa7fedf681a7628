import { readFileSync } from 'node:fs';
import { reportPage } from '../../setup/paths.mjs';
import { compareBenches } from '../bench/compare.ts';
import { coverageOf, type CoverageGoal } from '../coverage.ts';
import { replaceFile } from '../replace-file.ts';
import type { FoundRun } from '../results.ts';
import type { ReportBench, ReportData } from './data.ts';
import { renderHtml } from './render.ts';

/** What a page is to show. */
export interface PageContents {
  /** The oldest first, as the benchmarks. */
  runs: readonly FoundRun[];
  benches?: readonly ReportBench[];
  goal: CoverageGoal;
  /** Per cent from which on a difference of benchmarks counts. */
  threshold: number;
  /** The fragment of its address that opens first; the overview if absent. */
  start?: string;
}

/** Writes the HTML report of some runs and benchmarks. */
export function writeHtml(path: string, contents: PageContents): void {
  const { runs, benches = [], goal, threshold, start = '' } = contents;
  // A newer run knows better what a test covers.
  const tests = new Map(
    runs.flatMap(({ results }) => results.tests.map((test) => [test.id, test] as const)),
  );
  const [first, ...others] = benches;
  const data: ReportData = {
    runs: [...runs],
    benches: [...benches],
    benchComparisons: others.map(({ results }) =>
      compareBenches(first!.results, results, threshold),
    ),
    coverage: coverageOf(goal.uapi, [...tests.values()], goal.reasons).rows,
    start,
  };
  const script = readFileSync(reportPage.script, 'utf8');
  const style = readFileSync(reportPage.style, 'utf8');
  replaceFile(path, renderHtml(data, { script, style }));
}
