import type { Argv, CommandModule, InferredOptionTypes, Options } from 'yargs';
import { makeResultsDirectory, readResults } from '../../../reports/results-directory.ts';
import { KtapStream } from '../../../reports/ktap-stream.ts';
import type { RunResults } from '../../../reports/results.ts';
import { LiveDisplay } from '../../../reports/terminal/display.ts';
import { colorsFor } from '../../../reports/terminal/style.ts';
import { renderSummary } from '../../../reports/terminal/summary.ts';
import { parseShard, shardOf } from '../../runner/shard.ts';
import { UsageError } from '../../target/errors.ts';
import { targetNames } from '../choose-target.ts';
import { chosenTests } from '../chosen-tests.ts';
import { executeRun, type Audience } from '../execute-run.ts';
import { writeOwnPage } from '../html-page.ts';
import { interruption } from '../interruption.ts';
import { resumeRun } from '../resume-run.ts';
import { tellCi } from '../tell-ci.ts';
import { checkRunArguments, RUN_OPTIONS, runBuilder, type RunArguments } from '../run-options.ts';

const PART_GROUP = 'Parts of a run:';

const PART_OPTIONS = {
  shard: {
    describe: 'i/n: only the i-th of n parts of the tests, for n machines; `merge` joins them',
    type: 'string',
    requiresArg: true,
    group: PART_GROUP,
  },
  balance: {
    describe: 'an earlier run whose durations make the shards equally long; the same for all',
    type: 'string',
    requiresArg: true,
    implies: 'shard',
    group: PART_GROUP,
  },
  resume: {
    describe: 'go on with the run of this results directory, which ended early; with its options',
    type: 'string',
    requiresArg: true,
    group: PART_GROUP,
  },
} as const satisfies Record<string, Options>;

type Arguments = RunArguments & InferredOptionTypes<typeof PART_OPTIONS>;

export const run: CommandModule<object, Arguments> = {
  command: 'run [ids..]',
  describe: 'run tests and write reports',
  builder: (yargs: Argv) =>
    runBuilder(yargs)
      .options(PART_OPTIONS)
      .example('$0 run --shard 2/3 --results part-2', 'a third of the tests')
      .example('$0 run --resume results/latest', 'after a power cut') as Argv<Arguments>,
  handler: async (args) => {
    checkRunArguments(args);
    const terminal = args.ktap ? process.stderr : process.stdout;
    const display = new LiveDisplay(terminal, { quiet: args.quiet });
    const ktap = args.ktap ? new KtapStream((text) => process.stdout.write(text)) : undefined;
    const signals = interruption((name) => display.note(`${name}: ending the run`));
    const audience: Audience = {
      note: (text) => display.note(text),
      show: (line, finished) => {
        display.show(line, finished);
        ktap?.show(line, finished);
      },
      signal: signals.signal,
    };
    try {
      const { results, directory } =
        args.resume === undefined
          ? await begin(args, audience)
          : await goOn(args, args.resume, audience);
      await writeOwnPage({ results, directory });
      display.close();
      tellCi([results], terminal);
      terminal.write(renderSummary(results, directory, colorsFor(terminal)));
      ktap?.end(results);
      // It is set already if devices could not be given back.
      process.exitCode ||= results.run.exitCode;
    } finally {
      display.close();
      signals.release();
    }
  },
};

interface Made {
  results: RunResults;
  directory: string;
}

async function begin(args: Arguments, audience: Audience): Promise<Made> {
  const names = targetNames(args);
  const shard = args.shard === undefined ? undefined : parseShard(args.shard);
  const { tests, seed } = await chosenTests(args);
  const known = args.balance === undefined ? [] : readResults(args.balance).tests;
  const durations = new Map(known.map(({ id, durationMs }) => [id, durationMs]));
  const directory = makeResultsDirectory(args.results, names.kernel, new Date());
  const results = await executeRun(
    {
      args,
      tests,
      ...(shard && { shard: { ...shard, ids: shardOf(tests, shard, durations) } }),
      directory,
      command: ['vfio-conformance', ...process.argv.slice(2)],
      seed,
    },
    audience,
  );
  return { results, directory };
}

async function goOn(args: Arguments, directory: string, audience: Audience): Promise<Made> {
  const others = Object.entries<Options>({ ...RUN_OPTIONS, ...PART_OPTIONS }).flatMap(
    ([name, option]) => {
      const kept = ['resume', 'quiet', 'ktap'].includes(name);
      return kept || args[name as keyof Arguments] === option.default ? [] : [`--${name}`];
    },
  );
  if ((args.ids ?? []).length > 0) others.unshift('ids');
  if (others.length > 0) {
    throw new UsageError(
      `--resume goes on with the tests and options of the run; it takes no ${others.join(', ')}`,
      'leave them out, or begin a new run',
    );
  }
  return { results: await resumeRun(directory, audience), directory };
}
