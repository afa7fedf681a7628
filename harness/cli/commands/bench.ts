import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import type { Argv, CommandModule, InferredOptionTypes, Options } from 'yargs';
import type { BenchResults } from '../../../reports/bench-results.ts';
import {
  compareBenches,
  regressed,
  renderBenchComparison,
} from '../../../reports/bench/compare.ts';
import { BENCH_TEXT, readBench, renderedBench } from '../../../reports/bench/directory.ts';
import { EXIT } from '../../../reports/exit-code.ts';
import {
  HTML_FILE,
  makeResultsDirectory,
  pointLatest,
} from '../../../reports/results-directory.ts';
import { runBenches, type BenchSide } from '../../runner/bench.ts';
import { selectTests } from '../../runner/select.ts';
import { UsageError } from '../../target/errors.ts';
import { prepareTarget, targetNames } from '../choose-target.ts';
import { giveBack } from '../giving-back.ts';
import { writeBenchPage } from '../html-page.ts';
import { interruption } from '../interruption.ts';
import { programVersion } from '../program.ts';
import { RUN_OPTIONS, checkRunArguments, type RunArguments } from '../run-options.ts';
import { listBenches } from '../test-list.ts';
import { THRESHOLD_OPTION, checkThreshold } from '../threshold.ts';

const { machine, modules, append, device, yes, force, allow, nice, memory, results, quiet } =
  RUN_OPTIONS;

const METHOD_GROUP = 'The method:';

/** Measured with every selection: the floor below the others. */
const ALWAYS = 'harness';
const CONFIDENCE = 0.95;
/** What `--quick` changes. */
const QUICK = { rounds: 5, 'round-ms': 20, samples: 200, 'warm-up-ms': 2 };
const FULL = { rounds: 15, 'round-ms': 30, samples: 300, 'warm-up-ms': 3 };

const number = (describe: string, defaultDescription: string) =>
  ({
    describe,
    type: 'number',
    requiresArg: true,
    defaultDescription,
    group: METHOD_GROUP,
  }) as const;

const BENCH_OPTIONS = {
  kernel: { ...RUN_OPTIONS.kernel, array: true, nargs: 1 },
  machine,
  modules,
  append,
  'qemu-arg': RUN_OPTIONS['qemu-arg'],
  device,
  yes,
  force,
  allow,
  nice,
  memory,
  'timeout-scale': RUN_OPTIONS['timeout-scale'],
  results,
  quiet,
  quick: {
    describe: 'fewer and shorter rounds, for a first look and for CI',
    type: 'boolean',
    default: false,
    group: METHOD_GROUP,
  },
  rounds: number('rounds a benchmark', `${FULL.rounds}; quick: ${QUICK.rounds}`),
  'round-ms': number(
    'time box of a round in milliseconds',
    `${FULL['round-ms']}; quick: ${QUICK['round-ms']}`,
  ),
  samples: number(
    'samples after which a round ends before',
    `${FULL.samples}; quick: ${QUICK.samples}`,
  ),
  'warm-up-ms': number(
    'iterations before each round that do not count, in milliseconds',
    `${FULL['warm-up-ms']}; quick: ${QUICK['warm-up-ms']}`,
  ),
  'plant-delay': {
    describe:
      'per cent to add to each sample (with two kernels: of the last one), to see whether it is found',
    type: 'number',
    requiresArg: true,
    default: 0,
    group: METHOD_GROUP,
  },
  baseline: {
    describe: 'results directory of `bench` to compare with',
    type: 'string',
    requiresArg: true,
    group: 'The comparison:',
  },
  threshold: { ...THRESHOLD_OPTION, group: 'The comparison:' },
} as const satisfies Record<string, Options>;

type BenchArguments = InferredOptionTypes<typeof BENCH_OPTIONS> & { ids?: string[] };

export const bench: CommandModule<object, BenchArguments> = {
  command: 'bench [ids..]',
  describe: 'measure latencies; of several kernels in turn',
  builder: (yargs: Argv) =>
    yargs
      .positional('ids', {
        describe: 'ids, beginnings of ids, globs or files of benchmarks; all if none',
        type: 'string',
        array: true,
      })
      .options(BENCH_OPTIONS)
      .example('$0 bench --quick', 'a first look')
      .example('$0 bench container.dma --baseline results/before', 'faster or slower than before?')
      .example('$0 bench --kernel bookworm --kernel ~/linux', 'two kernels, round by round')
      .epilogue(
        'Exit codes: 0 measured, 1 slower than the baseline or the first kernel by more than\n' +
          '--threshold, or a benchmark failed, 2 wrong usage, 3 harness or set-up error, 5 the kernel\ncrashed, 130 interrupted.',
      ) as Argv<BenchArguments>,
  handler: async (args) => {
    checkThreshold(args.threshold);
    const runs = sideArguments(args);
    const names = runs.map((run) => {
      checkRunArguments(run);
      return targetNames(run);
    });
    const baseline = args.baseline === undefined ? undefined : readBench(args.baseline);
    const all = await listBenches();
    const wanted = selectTests(all, args.ids ?? []).map(({ id }) => id);
    const benches = all.filter(({ id, suite }) => suite === ALWAYS || wanted.includes(id));
    const label = `bench-${names.map(({ kernel }) => kernel).join('-')}`;
    const directory = makeResultsDirectory(args.results, label, new Date());
    const say = (text: string) => process.stderr.write(`${text}\n`);
    const signals = interruption((name) => say(`${name}: ending the measurement`));
    const sides: BenchSide[] = [];
    try {
      const id = randomBytes(8).toString('hex');
      for (const [side, run] of runs.entries()) {
        const place = runs.length === 1 ? directory : sideDirectory(directory, side, names[side]!);
        const target = await prepareTarget(run, place, say, { countInstructions: true });
        const isLast = side === runs.length - 1;
        sides.push({
          target,
          directory: place,
          kernel: target.describe()['kernel'] ?? '',
          method: { ...methodOf(args), plantedDelay: isLast ? args['plant-delay'] : 0 },
          interleaved: runs.length === 1 ? null : { id, side, sides: runs.length },
        });
      }
      if (args.results === undefined) pointLatest(directory);
      let begun = 0;
      const measured = await runBenches({
        sides,
        benches,
        machine: names[0]!.machine,
        version: programVersion(),
        command: ['vfio-conformance', ...process.argv.slice(2)],
        timeoutScale: args['timeout-scale'],
        signal: signals.signal,
        show: (side, event) => {
          if (args.quiet || side > 0) return;
          if (event.type === 'test-begin') say(`[${++begun}/${benches.length}] ${event.id}`);
          if (event.type === 'progress') say(event.text);
        },
      });
      report(measured, sides, directory, baseline, args.threshold);
      const page = join(directory, HTML_FILE);
      const shown = sides.map((side) => side.directory);
      await writeBenchPage(page, args.baseline ? [args.baseline, ...shown] : shown, args.threshold);
      process.stdout.write(`HTML report: ${page}\n`);
    } finally {
      giveBack(sides.map(({ target }) => target));
      signals.release();
    }
  },
};

/** One set of options of `run` a kernel. */
function sideArguments(args: BenchArguments): RunArguments[] {
  const kernels = args.kernel ?? [undefined];
  if (args.baseline !== undefined && kernels.length > 1) {
    throw new UsageError(
      '--baseline and several --kernel exclude each other',
      'the first --kernel is what the others are compared with',
    );
  }
  return kernels.map((kernel) => ({
    ...args,
    kernel,
    before: undefined,
    after: undefined,
    jobs: undefined,
    shuffle: undefined,
    'max-deaths': 1,
    bail: 0,
    ktap: false,
  }));
}

function sideDirectory(directory: string, side: number, { kernel }: { kernel: string }): string {
  const path = join(directory, `${side + 1}-${kernel.replace(/[^\w.+-]/g, '_')}`);
  mkdirSync(path);
  return path;
}

function methodOf(args: BenchArguments): Omit<BenchSide['method'], 'plantedDelay'> {
  const defaults = args.quick ? QUICK : FULL;
  const given = (name: keyof typeof FULL, least: number): number => {
    const value = args[name] ?? defaults[name];
    if (!(value >= least))
      throw new UsageError(
        `--${name} is not a number from ${least} on`,
        `for example: ${FULL[name]}`,
      );
    return value;
  };
  return {
    rounds: given('rounds', 2),
    roundMs: given('round-ms', 1),
    roundSamples: given('samples', 1),
    warmUpMs: given('warm-up-ms', 0),
    confidence: CONFIDENCE,
  };
}

/** Prints the tables and comparisons, and sets the exit code. */
function report(
  measured: readonly BenchResults[],
  sides: readonly BenchSide[],
  directory: string,
  baseline: BenchResults | undefined,
  threshold: number,
): void {
  for (const side of sides) process.stdout.write(renderedBench(side.directory) + '\n');
  const [first, ...others] = measured;
  const comparisons =
    baseline && first
      ? [compareBenches(baseline, first, threshold)]
      : others.map((other) => compareBenches(first!, other, threshold));
  for (const comparison of comparisons) {
    process.stdout.write(renderBenchComparison(comparison) + '\n');
  }
  process.stdout.write(`Reports: ${directory}/ (bench.json, ${BENCH_TEXT})\n`);
  process.exitCode = exitCodeOf(measured, comparisons.some(regressed));
}

function exitCodeOf(measured: readonly BenchResults[], slower: boolean): number {
  const outcomes = new Set(measured.map(({ run }) => run.outcome));
  if (outcomes.has('interrupted')) return EXIT.interrupted;
  if (outcomes.has('broken')) return EXIT.setup;
  const statuses = new Set(
    measured.flatMap(({ benchmarks }) => benchmarks.map(({ status }) => status)),
  );
  if (outcomes.has('aborted') || statuses.has('crash')) return EXIT.died;
  const failed = [...statuses].some((status) => status !== 'pass' && status !== 'skip');
  return slower || failed ? EXIT.failures : EXIT.asExpected;
}
