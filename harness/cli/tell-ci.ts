import { appendFileSync } from 'node:fs';
import { githubAnnotations, githubSummary } from '../../reports/github.ts';
import type { RunResults } from '../../reports/results.ts';
import type { Terminal } from '../../reports/terminal/display.ts';

/**
 * Tells the CI system that this runs in, if it is one that listens to its jobs, how the runs went.
 * The others take the files of a results directory.
 */
export function tellCi(
  runs: readonly RunResults[],
  out: Terminal,
  env: NodeJS.ProcessEnv = process.env,
): void {
  if (env['GITHUB_ACTIONS'] !== 'true') return;
  for (const line of githubAnnotations(runs)) out.write(`${line}\n`);
  const summary = env['GITHUB_STEP_SUMMARY'];
  if (summary) appendFileSync(summary, githubSummary(runs));
}
