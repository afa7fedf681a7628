import { join } from 'node:path';
import {
  Journal,
  JOURNAL_FILE,
  type JournalEvent,
  type JournalLine,
} from '../../reports/journal.ts';
import { Reducer } from '../../reports/reduce.ts';
import { writeReports } from '../../reports/results-directory.ts';
import type { RunResults, TestResult } from '../../reports/results.ts';
import type { Status, TestMeta } from '../protocol/events.ts';
import type { Target } from '../target/target.ts';
import { readExpectations } from './expectations.ts';
import { supervise, type RunEnd } from './supervise.ts';

export interface RunOptions {
  /** They run side by side and share the tests; each is the same machine with the same kernel. */
  targets: readonly [Target, ...Target[]];
  /** In the order in which to run them. */
  tests: TestMeta[];
  /** Exists, and is empty but for what the target keeps there. */
  directory: string;
  expectationsDirectory: string;
  /** Kernel release as far as it is known before the boot. */
  kernel: string;
  machine: string;
  version: string;
  command: string[];
  /** Command and options, to which ids are appended to run them again. */
  rerun: string;
  timeoutScale: number;
  maxDeaths: number;
  /** Failures, errors and deaths after which the run ends; 0: never. */
  bail: number;
  seed: string | null;
  signal: AbortSignal;
  show(line: JournalLine, finished?: TestResult): void;
}

/** What `--bail` counts. */
const BAD = new Set<Status>(['fail', 'error', 'crash', 'timeout', 'xpass']);

/** Runs the tests on the target; whatever happens, the directory holds valid reports at the end. */
export async function run(options: RunOptions): Promise<RunResults> {
  const { targets, tests, directory } = options;
  const [target] = targets;
  const expectations = readExpectations(
    options.expectationsDirectory,
    options.kernel,
    options.machine,
  );
  const expected = tests.flatMap((test) => {
    const expectation = expectations.of(test.id);
    return expectation ? [[test.id, expectation] as const] : [];
  });
  const skipped = new Set(expected.flatMap(([id, { kind }]) => (kind === 'skip' ? [id] : [])));
  const timeoutScale = options.timeoutScale * target.timeoutScale;

  const journal = new Journal(join(directory, JOURNAL_FILE));
  const reducer = new Reducer();
  const enough = new AbortController();
  let failures = 0;
  const record = (event: JournalEvent, lane = 0): void => {
    const line = journal.append(event, new Date(), lane);
    const finished = reducer.apply(line);
    options.show(line, finished);
    if (finished && BAD.has(finished.status) && ++failures === options.bail) enough.abort();
  };
  record({
    type: 'run-begin',
    schema: 1,
    version: options.version,
    command: options.command,
    rerun: options.rerun,
    kernel: options.kernel,
    machine: options.machine,
    target: target.describe(),
    timeoutScale,
    seed: options.seed,
    tests,
    expectationFiles: expectations.files,
    expectations: Object.fromEntries(expected),
  });

  let end: RunEnd = { outcome: 'finished', reason: '' };
  try {
    const wanted = tests.filter((test) => !skipped.has(test.id));
    const signal = AbortSignal.any([options.signal, enough.signal]);
    const ends = await sideBySide(targets, enough, (laneTarget, lane) =>
      supervise({
        target: laneTarget,
        tests: wanted.filter((_, index) => index % targets.length === lane),
        record: (event) => record(event, lane),
        timeoutScale,
        maxDeaths: options.maxDeaths,
        signal,
      }),
    );
    end = ends.find(({ outcome }) => outcome !== 'finished') ?? end;
    if (options.bail > 0 && failures >= options.bail && !options.signal.aborted) {
      end = { outcome: 'bailed', reason: `${failures} failures, as many as --bail allows` };
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    end = { outcome: 'broken', reason: reason.split('\n', 1)[0] ?? '' };
    throw error;
  } finally {
    record({ type: 'run-end', ...end });
    journal.close();
    await writeReports(directory);
  }
  return reducer.results();
}

/** Runs a lane on each target until all have ended; a lane that gives up or throws ends the others. */
async function sideBySide(
  targets: readonly Target[],
  enough: AbortController,
  lane: (target: Target, index: number) => Promise<RunEnd>,
): Promise<RunEnd[]> {
  const settled = await Promise.allSettled(
    targets.map(async (target, index) => {
      try {
        const end = await lane(target, index);
        if (end.outcome !== 'finished') enough.abort();
        return end;
      } catch (error) {
        enough.abort();
        throw error;
      }
    }),
  );
  // An end that a lane came to by itself explains the run; `interrupted` is what it did to the others.
  return settled
    .map((result) => {
      if (result.status === 'rejected') throw result.reason;
      return result.value;
    })
    .sort((a, b) => Number(a.outcome === 'interrupted') - Number(b.outcome === 'interrupted'));
}
