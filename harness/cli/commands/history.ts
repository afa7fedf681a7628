import type { CommandModule } from 'yargs';
import { historyOf, renderHistory } from '../../../reports/history.ts';
import { findRuns } from '../../../reports/runs.ts';
import { DIRECTORIES } from '../directories-option.ts';

interface HistoryArguments {
  directories: string[];
  json: boolean;
  all: boolean;
}

export const history: CommandModule<object, HistoryArguments> = {
  command: 'history <directories..>',
  describe: 'how tests ended over many runs and kernels, flakes with their rate',
  builder: (yargs) =>
    yargs
      .positional('directories', DIRECTORIES)
      .option('all', {
        describe: 'also the tests that passed, or were skipped, in every run',
        type: 'boolean',
        default: false,
      })
      .option('json', { describe: 'as JSON, with all tests', type: 'boolean', default: false })
      .example('$0 history results', 'all runs so far'),
  handler: ({ directories, json, all }) => {
    const table = historyOf(findRuns(directories));
    process.stdout.write(
      json ? JSON.stringify({ schema: 1, ...table }, null, 2) + '\n' : renderHistory(table, all),
    );
  },
};
