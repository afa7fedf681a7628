import type { Argv, CommandModule } from 'yargs';
import { EXIT, worstExitCode } from '../../../reports/exit-code.ts';
import { runNames } from '../../../reports/merge.ts';
import { makeResultsDirectory, pointLatest } from '../../../reports/results-directory.ts';
import { DEFAULT_KERNEL } from '../../target/vm/kernels.ts';
import { DEFAULT_MACHINE, machinesAtOnce, targetNames } from '../choose-target.ts';
import { chosenTests } from '../chosen-tests.ts';
import { interruption } from '../interruption.ts';
import { reportRuns } from '../report-runs.ts';
import { runMatrix } from '../run-matrix.ts';
import { checkRunArguments, RUN_OPTIONS, type RunArguments } from '../run-options.ts';

type MatrixArguments = Omit<RunArguments, 'kernel' | 'machine'> & {
  kernel?: string[];
  machine?: string[];
};

const {
  device: _device,
  yes: _yes,
  force: _force,
  ktap: _ktap,
  kernel,
  machine,
  jobs,
  ...SHARED_OPTIONS
} = RUN_OPTIONS;

export const matrix: CommandModule<object, MatrixArguments> = {
  command: 'matrix [ids..]',
  describe: 'run tests on each of several kernels and machines, one report',
  builder: (yargs: Argv) =>
    yargs
      .positional('ids', {
        describe: 'ids, beginnings of ids, globs or suite files; all tests if none',
        type: 'string',
        array: true,
      })
      .options({
        kernel: { ...kernel, describe: `${kernel.describe} (repeatable)`, array: true, nargs: 1 },
        machine: {
          ...machine,
          describe: `${machine.describe} (repeatable)`,
          array: true,
          nargs: 1,
        },
        jobs: { ...jobs, describe: 'virtual machines at once' },
        ...SHARED_OPTIONS,
      })
      .example(
        '$0 matrix --kernel bookworm --kernel ~/linux --machine default --machine virtio-iommu',
        'four runs',
      )
      .epilogue(
        'Each combination leaves a results directory of its own below the common one, which `history`,\n' +
          '`triage` and `merge` take as a whole. Ends with the exit code of the gravest.',
      ) as unknown as Argv<MatrixArguments>,
  handler: async ({ kernel = [DEFAULT_KERNEL], machine = [DEFAULT_MACHINE], ...args }) => {
    const runs = kernel.flatMap((kernel) =>
      machine.map((machine): RunArguments => ({ ...args, kernel, machine, jobs: 1 })),
    );
    for (const run of runs) checkRunArguments({ ...run, jobs: args.jobs });
    const names = runNames(runs.map(targetNames));
    const { tests, seed } = await chosenTests(args);
    const directory = makeResultsDirectory(args.results, 'matrix', new Date());
    if (args.results === undefined) pointLatest(directory);

    const { stdout, stderr } = process;
    const signals = interruption((name) => stdout.write(`${name}: ending the runs\n`));
    const end = await runMatrix({
      combinations: runs.map((args, index) => ({ name: names[index] ?? '', args })),
      tests,
      seed,
      directory,
      atOnce: machinesAtOnce(args),
      out: stdout,
      signal: signals.signal,
    }).finally(() => signals.release());

    await reportRuns(end.runs, directory);
    for (const text of [...end.leftOut, ...end.broken]) stderr.write(`no result: ${text}\n`);
    const codes = end.runs.map(({ results }) => results.run.exitCode);
    if (end.broken.length > 0 || codes.length === 0) codes.push(EXIT.setup);
    process.exitCode = signals.signal.aborted ? EXIT.interrupted : worstExitCode(codes);
  },
};
