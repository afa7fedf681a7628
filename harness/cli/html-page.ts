import { join } from 'node:path';
import { HTML_FILE } from '../../reports/results-directory.ts';
import { writeHtml } from '../../reports/html/write.ts';
import type { FoundRun } from '../../reports/results.ts';
import { coverageGoal } from './coverage-goal.ts';

/**
 * Writes one HTML page of some runs, the oldest first.
 * @param start the fragment of its address that opens first; the overview if absent
 */
export async function writePage(
  path: string,
  runs: readonly FoundRun[],
  start?: string,
): Promise<void> {
  writeHtml(path, { runs, goal: await coverageGoal(), start });
}

/** Writes the page of a run into its results directory. */
export async function writeOwnPage(run: FoundRun): Promise<void> {
  await writePage(join(run.directory, HTML_FILE), [run]);
}
