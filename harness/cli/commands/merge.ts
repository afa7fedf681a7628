import type { CommandModule } from 'yargs';
import { worstExitCode } from '../../../reports/exit-code.ts';
import { mergeRuns } from '../../../reports/merge.ts';
import { makeResultsDirectory, readResults } from '../../../reports/results-directory.ts';
import { findRuns } from '../../../reports/runs.ts';
import { colorsFor } from '../../../reports/terminal/style.ts';
import { renderSummary } from '../../../reports/terminal/summary.ts';
import { writeOwnPage } from '../html-page.ts';
import { reportRuns } from '../report-runs.ts';
import { tellCi } from '../tell-ci.ts';
import { writeFunctions } from '../write-functions.ts';
import { DIRECTORIES } from '../directories-option.ts';

interface MergeArguments {
  directories: string[];
  results: string;
}

export const merge: CommandModule<object, MergeArguments> = {
  command: 'merge <directories..>',
  describe: 'one report of shards, or of runs on several kernels and machines',
  builder: (yargs) =>
    yargs
      .positional('directories', DIRECTORIES)
      .option('results', {
        describe: 'directory for what is merged; must be new or empty',
        type: 'string',
        requiresArg: true,
        demandOption: true,
      })
      .example('$0 merge part-1 part-2 part-3 --results whole', 'the shards of one run')
      .epilogue(
        'Parts of one run, of the same kernel on the same machine and without a common test, become one\n' +
          'results directory, and so do fuzzing campaigns without a common program. Different runs become\n' +
          'a folder of them with a table of all their tests.\n' +
          'Ends with the exit code of the gravest.',
      ),
  handler: async ({ directories, results: wanted }) => {
    const parts = findRuns(directories).map(({ directory }) => directory);
    const out = makeResultsDirectory(wanted, '', new Date());
    const runs = await mergeRuns(parts, out);
    runs.forEach(writeFunctions);
    const results = runs.map(readResults);
    const [only] = results;
    if (results.length === 1 && only) {
      await writeOwnPage({ results: only, directory: out });
      tellCi(results, process.stdout);
      process.stdout.write(renderSummary(only, out, colorsFor(process.stdout)));
    } else {
      await reportRuns(findRuns([out]), out);
    }
    process.exitCode = worstExitCode(results.map(({ run }) => run.exitCode));
  },
};
