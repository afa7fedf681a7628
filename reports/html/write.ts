import { readFileSync } from 'node:fs';
import { reportPage } from '../../setup/paths.mjs';
import { coverageOf, type CoverageGoal } from '../coverage.ts';
import { replaceFile } from '../results-directory.ts';
import type { FoundRun } from '../results.ts';
import { renderHtml } from './render.ts';

/** What a page is to show. */
export interface PageContents {
  /** The oldest first. */
  runs: readonly FoundRun[];
  goal: CoverageGoal;
  /** The fragment of its address that opens first; the overview if absent. */
  start?: string;
}

/** Writes the HTML report of some runs. */
export function writeHtml(path: string, { runs, goal, start = '' }: PageContents): void {
  // A newer run knows better what a test covers.
  const tests = new Map(
    runs.flatMap(({ results }) => results.tests.map((test) => [test.id, test] as const)),
  );
  const data = {
    runs: [...runs],
    coverage: coverageOf(goal.uapi, [...tests.values()], goal.reasons).rows,
    start,
  };
  const script = readFileSync(reportPage.script, 'utf8');
  const style = readFileSync(reportPage.style, 'utf8');
  replaceFile(path, renderHtml(data, { script, style }));
}
