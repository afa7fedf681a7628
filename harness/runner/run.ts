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
  target: Target;
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
  const { target, tests, directory } = options;
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
  const record = (event: JournalEvent): void => {
    const line = journal.append(event);
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

  let end: RunEnd = { outcome: 'broken', reason: 'the supervisor failed' };
  try {
    end = await supervise({
      target,
      tests: tests.filter((test) => !skipped.has(test.id)),
      record,
      timeoutScale,
      maxDeaths: options.maxDeaths,
      signal: AbortSignal.any([options.signal, enough.signal]),
    });
    if (enough.signal.aborted && !options.signal.aborted) {
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
