import type { CommandModule } from 'yargs';
import { isBenchDirectory } from '../../../reports/bench/directory.ts';
import {
  CHANGES,
  compareRuns,
  renderComparison,
  type ChangeKind,
} from '../../../reports/compare.ts';
import { EXIT } from '../../../reports/exit-code.ts';
import { readResults } from '../../../reports/results-directory.ts';
import type { FoundRun } from '../../../reports/results.ts';
import { UsageError } from '../../target/errors.ts';
import { THRESHOLD_OPTION, checkThreshold } from '../threshold.ts';
import { printBenchComparisons } from '../bench-comparison.ts';
import { writeBenchPage, writePage } from '../html-page.ts';

interface CompareArguments {
  a: string;
  b: string;
  more?: string[];
  json: boolean;
  html: boolean;
  output: string;
  'fail-on': string[];
  slower: number;
  threshold: number;
}

const KINDS = Object.keys(CHANGES) as ChangeKind[];

export const compare: CommandModule<object, CompareArguments> = {
  command: 'compare <a> <b> [more..]',
  describe: 'what is otherwise in one run than in another; which benchmarks are slower or faster',
  builder: (yargs) =>
    yargs
      .positional('a', { describe: 'results directory', type: 'string', demandOption: true })
      .positional('b', { describe: 'results directory', type: 'string', demandOption: true })
      .positional('more', {
        describe: 'further directories of benchmarks, each compared with the first',
        type: 'string',
        array: true,
      })
      .option('json', { describe: 'as JSON', type: 'boolean', default: false })
      .option('html', {
        describe: 'also write an HTML page of the runs, which opens with the comparison',
        type: 'boolean',
        default: false,
      })
      .option('output', {
        describe: 'where the page goes',
        type: 'string',
        requiresArg: true,
        implies: 'html',
        default: 'comparison.html',
      })
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
      .option('threshold', { ...THRESHOLD_OPTION, group: 'Of benchmarks:' })
      .example('$0 compare results/A results/B --fail-on newly-fails --fail-on slower', 'for CI')
      .epilogue(
        'Exit codes: 0 nothing that --fail-on names and no benchmark slower by --threshold, 1 something,\n' +
          '2 wrong usage.',
      ),
  handler: async ({ a, b, more = [], json, html, output, slower, threshold, ...args }) => {
    checkThreshold(threshold);
    if (isBenchDirectory(a)) {
      const slowed = printBenchComparisons([a, b, ...more], { json, threshold });
      if (html) {
        await writeBenchPage(output, [a, b, ...more], threshold);
        (json ? process.stderr : process.stdout).write(`HTML report: ${output}\n`);
      }
      if (slowed) process.exitCode = EXIT.failures;
      return;
    }
    if (more.length > 0) {
      throw new UsageError(
        'tests of two runs can be compared, not of more',
        '`vfio-conformance history` shows how they ended in many runs',
      );
    }
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
    const runs = [a, b].map((directory) => ({ directory, results: readResults(directory) })) as [
      FoundRun,
      FoundRun,
    ];
    const comparison = compareRuns(runs[0].results, runs[1].results, slower);
    process.stdout.write(
      json
        ? JSON.stringify({ schema: 1, ...comparison }, null, 2) + '\n'
        : renderComparison(comparison),
    );
    if (html) {
      await writePage(output, { runs, start: '#/compare' });
      (json ? process.stderr : process.stdout).write(`HTML report: ${output}\n`);
    }
    const counts = ({ kind }: { kind: ChangeKind }) => grave.has(kind) || grave.has('any');
    if (!grave.has('none') && comparison.changes.some(counts)) process.exitCode = EXIT.failures;
  },
};
