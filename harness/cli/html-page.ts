import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writingReports } from '../../reports/replace-file.ts';
import { HTML_FILE } from '../../reports/results-directory.ts';
import { writeHtml, type PageContents } from '../../reports/html/write.ts';
import { readReportBench } from '../../reports/html/benches.ts';
import type { FoundRun } from '../../reports/results.ts';
import { UsageError } from '../target/errors.ts';
import { coverageGoal } from './coverage-goal.ts';
import { THRESHOLD_OPTION } from './threshold.ts';

/** Writes one HTML page of some runs and benchmarks. */
export async function writePage(
  path: string,
  contents: Pick<PageContents, 'runs' | 'benches' | 'start'>,
  threshold: number = THRESHOLD_OPTION.default,
): Promise<void> {
  if (!existsSync(dirname(path)))
    throw new UsageError(`there is no folder ${dirname(path)}`, 'make it, or name another place');
  writeHtml(path, { ...contents, goal: await coverageGoal(), threshold });
}

/** Writes the page of a run into its results directory. @throws SetupError if there is no room */
export async function writeOwnPage(run: FoundRun): Promise<void> {
  const contents = { runs: [run], goal: await coverageGoal(), threshold: THRESHOLD_OPTION.default };
  writingReports(run.directory, () => writeHtml(join(run.directory, HTML_FILE), contents));
}

/**
 * Writes a page of benchmarks, which opens with their comparison if there is one.
 * @param directories what the others are compared with first
 */
export async function writeBenchPage(
  path: string,
  directories: readonly string[],
  threshold: number,
): Promise<void> {
  const benches = directories.map(readReportBench);
  const start = benches.length > 1 ? '#/benchmarks?show=ratios' : '';
  await writePage(path, { runs: [], benches, start }, threshold);
}
