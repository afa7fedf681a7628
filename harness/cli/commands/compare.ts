import type { CommandModule } from 'yargs';
import {
  CHANGES,
  compareRuns,
  renderComparison,
  type ChangeKind,
} from '../../../reports/compare.ts';
import { EXIT } from '../../../reports/exit-code.ts';
import { readResults } from '../../../reports/results-directory.ts';
import { UsageError } from '../../target/errors.ts';

interface CompareArguments {
  a: string;
  b: string;
  json: boolean;
  'fail-on': string[];
  slower: number;
}

const KINDS = Object.keys(CHANGES) as ChangeKind[];

export const compare: CommandModule<object, CompareArguments> = {
  command: 'compare <a> <b>',
  describe: 'what is otherwise in one run than in another',
  builder: (yargs) =>
    yargs
      .positional('a', { describe: 'results directory', type: 'string', demandOption: true })
      .positional('b', { describe: 'results directory', type: 'string', demandOption: true })
      .option('json', { describe: 'as JSON', type: 'boolean', default: false })
      .option('fail-on', {
        describe: `exit code 1 on one of these (repeatable): ${KINDS.join(', ')}, any, none`,
        type: 'string',
        array: true,
        nargs: 1,
        default: ['newly-fails'],
      })
      .option('slower', {
        describe: 'factor from which on a test is much slower; half a second at least',
        type: 'number',
        requiresArg: true,
        default: 3,
      })
      .example('$0 compare results/A results/B --fail-on newly-fails --fail-on slower', 'for CI')
      .epilogue('Exit codes: 0 nothing that --fail-on names, 1 something, 2 wrong usage.'),
  handler: ({ a, b, json, slower, ...args }) => {
    const grave = new Set(args['fail-on'].flatMap((kinds) => kinds.split(',')));
    const unknown = [...grave].filter((kind) => ![...KINDS, 'any', 'none'].includes(kind));
    if (unknown.length > 0) {
      throw new UsageError(
        `--fail-on knows no ${unknown.join(', ')}`,
        `give some of ${KINDS.join(', ')}, or any, or none`,
      );
    }
    if (!(slower >= 1))
      throw new UsageError('--slower is not a number from 1 on', 'for example: --slower 3');
    const comparison = compareRuns(readResults(a), readResults(b), slower);
    process.stdout.write(
      json
        ? JSON.stringify({ schema: 1, ...comparison }, null, 2) + '\n'
        : renderComparison(comparison),
    );
    const counts = ({ kind }: { kind: ChangeKind }) => grave.has(kind) || grave.has('any');
    if (!grave.has('none') && comparison.changes.some(counts)) process.exitCode = EXIT.failures;
  },
};
