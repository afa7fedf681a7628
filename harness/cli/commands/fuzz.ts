import { randomInt } from 'node:crypto';
import { release } from 'node:os';
import { join } from 'node:path';
import type { Argv, CommandModule, InferredOptionTypes, Options } from 'yargs';
import {
  JOURNAL_FILE,
  mendJournal,
  readJournal,
  type JournalEvent,
  type JournalLine,
  type RunBegin,
} from '../../../reports/journal.ts';
import { Reducer } from '../../../reports/reduce.ts';
import {
  makeResultsDirectory,
  readResults,
  writeReports,
} from '../../../reports/results-directory.ts';
import { colorsFor } from '../../../reports/terminal/style.ts';
import { renderSummary } from '../../../reports/terminal/summary.ts';
import type { TestMeta } from '../../protocol/test.ts';
import type { FuzzSlice } from '../../protocol/fuzz.ts';
import { campaign } from '../../runner/fuzz.ts';
import { RunJournal } from '../../runner/run-journal.ts';
import { parseTime, planSlices, replaySlice } from '../../runner/fuzz-plan.ts';
import { selectTests } from '../../runner/select.ts';
import { parseShard } from '../../runner/shard.ts';
import { UsageError } from '../../target/errors.ts';
import type { Target } from '../../target/target.ts';
import { targetNames } from '../choose-target.ts';
import { onTargets } from '../execute-run.ts';
import { FuzzProgress } from '../fuzz-progress.ts';
import { interruption } from '../interruption.ts';
import { programVersion } from '../program.ts';
import { checkRunArguments, rerunOptions, runBuilder, type RunArguments } from '../run-options.ts';
import { listTests } from '../test-list.ts';
import { writeFunctions } from '../write-functions.ts';

const DEFAULT_TIME = '5m';
const MOST_SEED = 2 ** 31;
const FUZZ_GROUP = 'The campaign:';

const FUZZ_OPTIONS = {
  time: {
    describe: 'how long, all fuzzers together: 90s, 30m, 2h',
    type: 'string',
    requiresArg: true,
    defaultDescription: DEFAULT_TIME,
    conflicts: 'runs',
    group: FUZZ_GROUP,
  },
  runs: {
    describe: 'programs of each fuzzer, instead of a time',
    type: 'number',
    requiresArg: true,
    group: FUZZ_GROUP,
  },
  seed: {
    describe: 'the same seed runs the same programs',
    type: 'number',
    requiresArg: true,
    defaultDescription: 'random',
    group: FUZZ_GROUP,
  },
  shard: {
    describe: 'i/n: one of n machines, no two of which run the same program',
    type: 'string',
    requiresArg: true,
    default: '1/1',
    group: FUZZ_GROUP,
  },
  replay: {
    describe: 'one program of one fuzzer: SEED:NUMBER, or the program as a failure prints it',
    type: 'string',
    requiresArg: true,
    group: FUZZ_GROUP,
  },
  resume: {
    describe: 'go on with the campaign of this results directory',
    type: 'string',
    requiresArg: true,
    group: FUZZ_GROUP,
  },
} as const satisfies Record<string, Options>;

type FuzzArguments = RunArguments & InferredOptionTypes<typeof FUZZ_OPTIONS>;

export const fuzz: CommandModule<object, FuzzArguments> = {
  command: 'fuzz [ids..]',
  describe: 'run random programs and compare the answers with what the kernel promises',
  builder: (yargs: Argv) => runBuilder(yargs).options(FUZZ_OPTIONS) as Argv<FuzzArguments>,
  handler: async (args) => {
    checkRunArguments(args);
    const say = (text: string): void => void process.stderr.write(`${text}\n`);
    const signals = interruption((name) => say(`${name}: ending the campaign`));
    const jobs = args.device ? 1 : (args.jobs ?? 1);
    const { directory, earlier, begin } =
      args.resume === undefined ? await planned(args, jobs) : readCampaign(args.resume);
    const progress = new FuzzProgress(args.quiet ? () => {} : say);
    const reducer = new Reducer();
    for (const line of earlier) {
      reducer.apply(line);
      progress.apply(line);
    }
    const full = new AbortController();
    const journal = new RunJournal(directory, 'fuzz', full);
    const record = (event: JournalEvent, lane = 0): void => {
      const line = journal.append(event, lane);
      if (!line) return;
      const finding = reducer.apply(line);
      progress.apply(event);
      if (finding?.failure) say(`FOUND ${finding.id}: ${finding.failure.message}`);
    };
    try {
      await onTargets(args, jobs, directory, say, async (targets) => {
        const timeoutScale = args['timeout-scale'] * targets[0].timeoutScale;
        if (earlier.length === 0) record({ ...begin, ...factsOf(targets[0]), timeoutScale });
        const slices = slicesLeft(begin, earlier);
        if (args.replay === undefined && slices[0]) say(`seed ${slices[0].seed}`);
        const end = await campaign({
          targets,
          tests: begin.tests,
          slices,
          timeoutScale,
          maxDeaths: args['max-deaths'],
          record,
          progress: (event) => progress.apply(event),
          signal: AbortSignal.any([signals.signal, full.signal]),
        });
        record({ type: 'run-end', ...end });
      });
      journal.close();
      if (journal.lost) throw journal.lost;
      writeFunctions(directory);
      const results = await writeReports(directory);
      process.stdout.write(renderSummary(results, directory, colorsFor(process.stdout)));
      process.stdout.write(`${progress.throughput()}${progress.summary()}\n`);
      process.exitCode ||= results.run.exitCode;
    } finally {
      signals.release();
    }
  },
};

/** A campaign before its machines are there. */
interface Campaign {
  directory: string;
  /** The journal so far. */
  earlier: JournalLine[];
  begin: RunBegin;
}

async function planned(args: FuzzArguments, jobs: number): Promise<Campaign> {
  const { kernel, machine } = targetNames(args);
  const tests = selectFuzzers(await listTests(), args.ids ?? []);
  const fuzz = slicesFor(args, tests, jobs);
  const directory = makeResultsDirectory(args.results, `fuzz-${kernel}`, new Date());
  const begin: RunBegin = {
    type: 'run-begin',
    schema: 1,
    version: programVersion(),
    command: ['vfio-conformance', ...process.argv.slice(2)],
    rerun: ['npx vfio-conformance fuzz', ...rerunOptions(args)].join(' '),
    kernel: release(),
    machine,
    target: {},
    timeoutScale: 1,
    seed: null,
    tests,
    fuzz,
    expectationFiles: [],
    expectations: {},
  };
  return { directory, earlier: [], begin };
}

/** What is known of a target before it speaks. */
function factsOf(target: Target): Pick<RunBegin, 'kernel' | 'target'> {
  const facts = target.describe();
  return { kernel: facts['kernel'] ?? release(), target: facts };
}

/** Fuzzers live in files of their own kind; a finding's id is the fuzzer's with a number behind it. */
function selectFuzzers(tests: readonly TestMeta[], ids: readonly string[]): TestMeta[] {
  const fuzzers = tests.filter(({ file }) => file.endsWith('.fuzz.ts'));
  const names = ids.map((id) => id.replace(/#\d+$/, ''));
  return selectTests(fuzzers, names);
}

function slicesFor(args: FuzzArguments, tests: readonly TestMeta[], jobs: number): FuzzSlice[] {
  const ids = tests.map(({ id }) => id);
  if (args.replay !== undefined) {
    const [id] = ids;
    if (id === undefined || ids.length > 1) {
      throw new UsageError('--replay needs one fuzzer', `give one of ${ids.join(', ')}`);
    }
    return [replaySlice(id, args.replay)];
  }
  const seed = args.seed ?? randomInt(MOST_SEED);
  const shard = parseShard(args.shard);
  return args.runs === undefined
    ? planSlices({ ids, time: parseTime(args.time ?? DEFAULT_TIME), seed, jobs, shard })
    : planSlices({ ids, runs: Math.max(1, args.runs), seed, jobs, shard });
}

/** What an earlier session of the campaign did not get done. */
function slicesLeft({ fuzz = [] }: RunBegin, earlier: readonly JournalLine[]): FuzzSlice[] {
  const done = new Set(earlier.flatMap((line) => (line.type === 'fuzz-end' ? [line.slice] : [])));
  return fuzz.filter(({ number }) => !done.has(number));
}

/** @throws UsageError if the directory holds no campaign */
function readCampaign(directory: string): Campaign {
  readResults(directory);
  const path = join(directory, JOURNAL_FILE);
  mendJournal(path);
  const earlier = readJournal(path);
  const begin = earlier.find((line) => line.type === 'run-begin');
  if (begin?.fuzz) return { directory, earlier, begin };
  throw new UsageError(
    `${directory} holds no fuzzing campaign`,
    'name a directory that `vfio-conformance fuzz` has written',
  );
}
