import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import { projectFolder } from '../../../setup/paths.mjs';
import { findRuns } from '../../../reports/runs.ts';
import { applyEdits, expectationEdits, FILL_IN } from '../../runner/update-expectations.ts';

interface ExpectationsArguments {
  directories: string[];
  'dry-run': boolean;
}

const update: CommandModule<object, ExpectationsArguments> = {
  command: 'update <directories..>',
  describe: 'write the lines of expectations/ that runs need, each with a reason to fill in',
  builder: (yargs) =>
    yargs
      .positional('directories', {
        describe: 'results directories; with several of one kernel flakes are told from failures',
        type: 'string',
        array: true,
        demandOption: true,
      })
      .option('dry-run', { describe: 'print only', type: 'boolean', default: false })
      .example('$0 expectations update results/latest', 'then fill in the reasons'),
  handler: ({ directories, ...args }) => {
    const folder = join(projectFolder, 'expectations');
    const edits = expectationEdits(
      findRuns(directories).map(({ results }) => results),
      folder,
    );
    for (const { file, action, line } of edits)
      process.stdout.write(`${file}: ${action === 'add' ? '+' : '-'} ${line}\n`);
    if (edits.length === 0) process.stdout.write('all ended as expected: nothing to write\n');
    if (args['dry-run']) return;
    applyEdits(edits, folder);
    if (edits.some(({ action }) => action === 'add'))
      process.stdout.write(`put a bug link, a commit or a sentence in place of '${FILL_IN}'\n`);
  },
};

export const expectations: CommandModule = {
  command: 'expectations <command>',
  describe: 'maintain the lists of what is known to fail',
  builder: (yargs) => yargs.command(update as never).demandCommand(1, 'which command?'),
  handler: () => {},
};
