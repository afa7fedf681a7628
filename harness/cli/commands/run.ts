import { rmdirSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import type { CommandModule } from 'yargs';
import { projectFolder } from '../../../setup/paths.mjs';
import { makeResultsDirectory, pointLatest, readKtap } from '../../../reports/results-directory.ts';
import { LiveDisplay } from '../../../reports/terminal/display.ts';
import { colorsFor } from '../../../reports/terminal/style.ts';
import { renderSummary } from '../../../reports/terminal/summary.ts';
import { run as runTests } from '../../runner/run.ts';
import { selectTests, shuffle } from '../../runner/select.ts';
import type { Target } from '../../target/target.ts';
import { machineCount, prepareTarget, targetNames } from '../choose-target.ts';
import { interruption } from '../interruption.ts';
import { programVersion, runInvocation } from '../program.ts';
import { checkRunArguments, rerunOptions, runBuilder, type RunArguments } from '../run-options.ts';
import { listTests } from '../test-list.ts';

export const run: CommandModule<object, RunArguments> = {
  command: 'run [ids..]',
  describe: 'run tests and write reports',
  builder: runBuilder,
  handler: async (args) => {
    checkRunArguments(args);
    const names = targetNames(args);
    const selected = selectTests(await listTests(), args.ids ?? []);
    const seed =
      args.shuffle === 'random' ? randomBytes(4).toString('hex') : (args.shuffle ?? null);
    const tests = seed === null ? selected : shuffle(selected, seed);

    const terminal = args.ktap ? process.stderr : process.stdout;
    const display = new LiveDisplay(terminal, { quiet: args.quiet });
    const signals = interruption((name) => display.note(`${name}: ending the run`));
    const directory = makeResultsDirectory(args.results, names.kernel, new Date());
    try {
      const targets = await prepare(args, machineCount(args, tests.length), directory, display);
      if (args.results === undefined) pointLatest(directory);
      const rerun = [runInvocation(), ...rerunOptions(args)].join(' ');
      const results = await runTests({
        targets,
        tests,
        directory,
        expectationsDirectory: join(projectFolder, 'expectations'),
        kernel: targets[0].describe()['kernel'] ?? release(),
        machine: names.machine,
        version: programVersion(),
        command: ['vfio-conformance', ...process.argv.slice(2)],
        rerun,
        timeoutScale: args['timeout-scale'],
        maxDeaths: args['max-deaths'],
        bail: args.bail,
        seed,
        signal: signals.signal,
        show: (line, finished) => display.show(line, finished),
      });
      display.close();
      terminal.write(renderSummary(results, directory, rerun, colorsFor(terminal)));
      if (args.ktap) process.stdout.write(readKtap(directory));
      process.exitCode = results.run.exitCode;
    } finally {
      display.close();
      signals.release();
    }
  },
};

/** Prepares the machines; if that fails, no empty directory is left behind. */
async function prepare(
  args: RunArguments,
  count: number,
  directory: string,
  display: LiveDisplay,
): Promise<[Target, ...Target[]]> {
  const note = (text: string): void => display.note(text);
  try {
    const targets: [Target, ...Target[]] = [await prepareTarget(args, directory, note)];
    for (let lane = 1; lane < count; lane++) {
      targets.push(await prepareTarget(args, directory, () => undefined, lane));
    }
    return targets;
  } catch (error) {
    try {
      rmdirSync(directory);
    } catch {
      // Something is in it already: it stays.
    }
    throw error;
  }
}
