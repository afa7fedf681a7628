import { historyOf, renderHistory } from '../history.ts';
import type { FoundRun } from '../results.ts';
import { HTML_FILE } from '../results-directory.ts';
import type { Colors } from './style.ts';
import { renderVerdict } from './summary.ts';

/** Several runs at the end: the table of the tests that are not the same in all, and a verdict on each. */
export function renderRuns(runs: readonly FoundRun[], directory: string, colors: Colors): string {
  return [
    renderHistory(historyOf(runs), false),
    ...runs.map(({ results }) => renderVerdict(results, colors)),
    `Reports: ${directory}/${HTML_FILE}, ${directory}/*/`,
    '',
  ].join('\n');
}
