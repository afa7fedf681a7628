import { join } from 'node:path';
import { HTML_FILE } from '../../reports/results-directory.ts';
import type { FoundRun } from '../../reports/results.ts';
import { renderRuns } from '../../reports/terminal/runs.ts';
import { colorsFor } from '../../reports/terminal/style.ts';
import { tellCi } from './tell-ci.ts';
import { writePage } from './html-page.ts';

/** Writes the page of the runs below a directory and says how they went, to whoever reads the output and to CI. */
export async function reportRuns(runs: readonly FoundRun[], directory: string): Promise<void> {
  await writePage(join(directory, HTML_FILE), { runs });
  tellCi(
    runs.map(({ results }) => results),
    process.stdout,
  );
  process.stdout.write(renderRuns(runs, directory, colorsFor(process.stdout)));
}
