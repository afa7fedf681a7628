import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { EXIT, worstExitCode } from '../../../reports/exit-code.ts';
import { runNames } from '../../../reports/merge.ts';
import { makeResultsDirectory, pointLatest } from '../../../reports/results-directory.ts';
import type { FoundRun } from '../../../reports/results.ts';
import { LiveDisplay } from '../../../reports/terminal/display.ts';
import { labelled } from '../../../reports/terminal/labelled.ts';
import { isActionable, UnsupportedError } from '../../target/errors.ts';
import { DEFAULT_KERNEL } from '../../target/vm/kernels.ts';
import { DEFAULT_MACHINE, machinesAtOnce, targetNames } from '../choose-target.ts';
import { chosenTests } from '../chosen-tests.ts';
import { executeRun } from '../execute-run.ts';
import { interruption } from '../interruption.ts';
import { reportRuns } from '../report-runs.ts';
import { checkRunArguments, RUN_OPTIONS, runCommand, type RunArguments } from '../run-options.ts';

type MatrixArguments = Omit<RunArguments, 'kernel' | 'machine'> & {
  kernel: string[];
  machine: string[];
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
  handler: async (args) => {
    const runs = (args.kernel ?? [DEFAULT_KERNEL]).flatMap((kernel) =>
      (args.machine ?? [DEFAULT_MACHINE]).map((machine) => ({ ...args, kernel, machine, jobs: 1 })),
    );
    for (const run of runs) checkRunArguments({ ...run, jobs: args.jobs });
    const names = runNames(runs.map(targetNames));
    const { tests, seed } = await chosenTests(args);

    const out = makeResultsDirectory(args.results, 'matrix', new Date());
    if (args.results === undefined) pointLatest(out);
    const { stdout } = process;
    const signals = interruption((name) => stdout.write(`${name}: ending the runs\n`));
    const found: FoundRun[] = [];
    const broken: string[] = [];
    const leftOut: string[] = [];
    const execute = async (args: RunArguments, name: string): Promise<void> => {
      if (signals.signal.aborted) return;
      const display = new LiveDisplay(labelled(stdout, name), { quiet: args.quiet });
      const directory = join(out, name);
      mkdirSync(directory);
      const command = runCommand({ ...args, results: undefined });
      try {
        const results = await executeRun(
          { args: { ...args, results: directory }, tests, directory, command, seed },
          {
            note: (text) => display.note(text),
            show: (line, finished) => display.show(line, finished),
            signal: signals.signal,
          },
        );
        found.push({ directory, results });
      } catch (error) {
        if (!isActionable(error)) throw error;
        const list = error instanceof UnsupportedError ? leftOut : broken;
        list.push(`${name}: ${error.message}`);
      } finally {
        display.close();
      }
    };
    try {
      await atOnce(
        runs.map((run, index) => () => execute(run, names[index] ?? '')),
        args.jobs ?? machinesAtOnce(),
      );
    } finally {
      signals.release();
    }
    await reportRuns(found, out);
    for (const text of [...leftOut, ...broken]) process.stderr.write(`not run: ${text}\n`);
    const codes = found.map(({ results }) => results.run.exitCode);
    process.exitCode = worstExitCode(
      broken.length > 0 || found.length === 0 ? [...codes, EXIT.setup] : codes,
    );
  },
};

/** Does the works in their order, so many at once. */
async function atOnce(works: readonly (() => Promise<void>)[], most: number): Promise<void> {
  const waiting = [...works];
  const lane = async (): Promise<void> => {
    for (let work = waiting.shift(); work; work = waiting.shift()) await work();
  };
  await Promise.all(Array.from({ length: most }, lane));
}
