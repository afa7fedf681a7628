import { join } from 'node:path';
import { JOURNAL_FILE, mendJournal, readJournal } from '../../reports/journal.ts';
import { readResults } from '../../reports/results-directory.ts';
import type { RunResults } from '../../reports/results.ts';
import { resume } from '../runner/run.ts';
import { checkSameMachine } from '../target/local/same-machine.ts';
import { machineCount } from './choose-target.ts';
import { limits, onTargets, type Audience } from './execute-run.ts';
import { recordedOptions } from './recorded-options.ts';

/**
 * Goes on with the run of a results directory, with the options that it was begun with. One that
 * has come to its end is left as it is.
 * @throws UsageError if the directory holds no run, or one of another machine or of other devices
 */
export async function resumeRun(directory: string, audience: Audience): Promise<RunResults> {
  const { run } = readResults(directory);
  if (run.outcome === 'finished') {
    audience.note(`${directory} is complete: there is nothing to go on with`);
    return readResults(directory);
  }
  const path = join(directory, JOURNAL_FILE);
  const args = recordedOptions(run.command);
  const begin = readJournal(path).find((line) => line.type === 'run-begin');
  // What the user has agreed to is these devices, not their addresses.
  if (args.device && begin) checkSameMachine(begin.target);
  mendJournal(path);
  const count = machineCount(args, run.notRun.length);
  const command = ['vfio-conformance', ...process.argv.slice(2)];
  return onTargets(args, count, directory, audience.note, (targets) =>
    resume(readJournal(path), command, { targets, directory, ...limits(args), ...audience }),
  );
}
