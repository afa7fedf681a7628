import { rmdirSync } from 'node:fs';
import { release, setPriority } from 'node:os';
import { join } from 'node:path';
import { projectFolder } from '../../setup/paths.mjs';
import type { JournalLine, RunBegin } from '../../reports/journal.ts';
import { pointLatest } from '../../reports/results-directory.ts';
import type { RunResults, TestResult } from '../../reports/results.ts';
import type { TestMeta } from '../protocol/test.ts';
import { planRun } from '../runner/plan.ts';
import { run } from '../runner/run.ts';
import type { Target } from '../target/target.ts';
import { machineCount, prepareTarget, targetNames } from './choose-target.ts';
import { giveBack } from './giving-back.ts';
import { programVersion, runInvocation } from './program.ts';
import { rerunOptions, type RunArguments } from './run-options.ts';

/** A run as the command line describes it. */
export interface PlannedRun {
  args: RunArguments;
  /** In the order in which to run them; with `shard` those of all shards. */
  tests: TestMeta[];
  shard?: RunBegin['shard'];
  /** Exists, and is empty. */
  directory: string;
  /** The command line that makes this run, program name first. */
  command: string[];
  seed: string | null;
}

/** What watches a run and may end it. */
export interface Audience {
  note(text: string): void;
  show(line: JournalLine, finished?: TestResult): void;
  signal: AbortSignal;
}

/** Prepares the machines and runs the tests. If the machines cannot be prepared, no empty directory stays. */
export async function executeRun(planned: PlannedRun, audience: Audience): Promise<RunResults> {
  const { args, tests, shard, directory } = planned;
  try {
    const count = machineCount(args, shard?.ids.length ?? tests.length);
    return await onTargets(args, count, directory, audience.note, (targets) => {
      if (args.results === undefined) pointLatest(directory);
      const [target] = targets;
      const begin = planRun({
        target,
        tests,
        ...(shard && { shard }),
        expectationsDirectory: join(projectFolder, 'expectations'),
        kernel: target.describe()['kernel'] ?? release(),
        machine: targetNames(args).machine,
        version: programVersion(),
        command: planned.command,
        rerun: rerunCommand(args),
        timeoutScale: args['timeout-scale'],
        seed: planned.seed,
      });
      return run(begin, { targets, directory, ...limits(args), ...audience });
    });
  } finally {
    try {
      rmdirSync(directory);
    } catch {
      // There is something in it: it stays.
    }
  }
}

/**
 * Prepares as many machines as are to share the tests, which differ in nothing but their files'
 * names, and gives back at the end what was taken for them.
 */
export async function onTargets<Result>(
  args: RunArguments,
  count: number,
  directory: string,
  note: (text: string) => void,
  use: (targets: [Target, ...Target[]]) => Promise<Result>,
): Promise<Result> {
  // Whatever is started from here on inherits it.
  if (args.nice !== undefined) setPriority(args.nice);
  const targets: [Target, ...Target[]] = [await prepareTarget(args, directory, note)];
  try {
    for (let lane = 1; lane < count; lane++) {
      targets.push(await prepareTarget(args, directory, () => undefined, { lane }));
    }
    return await use(targets);
  } finally {
    giveBack(targets);
  }
}

/** When a run is given up. */
export function limits(args: RunArguments): { maxDeaths: number; bail: number } {
  return { maxDeaths: args['max-deaths'], bail: args.bail };
}

/** The command to which ids are appended to run them again in the same way. */
function rerunCommand(args: RunArguments): string {
  return [runInvocation(), ...rerunOptions(args)].join(' ');
}
