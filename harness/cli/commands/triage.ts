import type { CommandModule } from 'yargs';
import { findRuns } from '../../../reports/runs.ts';
import { renderTriage, triage as groupFailures } from '../../../reports/triage.ts';
import { DIRECTORIES } from '../directories-option.ts';

interface TriageArguments {
  directories: string[];
  json: boolean;
}

export const triage: CommandModule<object, TriageArguments> = {
  command: 'triage <directories..>',
  describe: 'the failures of one or many runs, the same bug once',
  builder: (yargs) =>
    yargs
      .positional('directories', DIRECTORIES)
      .option('json', { describe: 'as a JSON array', type: 'boolean', default: false })
      .example('$0 triage results', 'all runs so far'),
  handler: ({ directories, json }) => {
    const groups = groupFailures(findRuns(directories));
    process.stdout.write(json ? JSON.stringify(groups, null, 2) + '\n' : renderTriage(groups));
  },
};
