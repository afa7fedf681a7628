import {
  plannedTests,
  type JournalEvent,
  type JournalLine,
  type RunBegin,
} from '../../reports/journal.ts';
import { Reducer } from '../../reports/reduce.ts';
import { writeReports } from '../../reports/results-directory.ts';
import { isBad, type RunResults, type TestResult } from '../../reports/results.ts';
import { UsageError } from '../target/errors.ts';
import { BOOT_ID, type Target } from '../target/target.ts';
import { RunJournal } from './run-journal.ts';
import { supervise, type RunEnd } from './supervise.ts';

export interface RunOptions {
  /** They run side by side and share the tests; each is the same machine with the same kernel. */
  targets: readonly [Target, ...Target[]];
  /** Where the journal is; all else in it is the target's. */
  directory: string;
  maxDeaths: number;
  /** Failures, errors and deaths after which the run ends; 0: never. */
  bail: number;
  signal: AbortSignal;
  show(line: JournalLine, finished?: TestResult): void;
}

/** Runs what is planned; whatever happens, the directory holds valid reports at the end. */
export function run(begin: RunBegin, options: RunOptions): Promise<RunResults> {
  return record(begin, options, new Reducer(), (take) => take(begin));
}

/**
 * Goes on with a run from its journal, which must not end in half a line: what has a result keeps
 * it. A test in which this machine went down, so that its worker could not say more, has crashed it.
 * @param command that resumes it, as typed
 */
export function resume(
  lines: readonly JournalLine[],
  command: string[],
  options: RunOptions,
): Promise<RunResults> {
  const reducer = new Reducer();
  let begin: RunBegin | undefined;
  let boot: unknown;
  for (const line of lines) {
    if (line.type === 'run-begin') begin = line;
    if (line.type === 'run-begin' || line.type === 'run-resume') boot = line.target[BOOT_ID];
    options.show(line, reducer.apply(line));
  }
  if (!begin) throw new Error('the journal holds no run: its first line is missing');
  const target = options.targets[0].describe();
  const kernel = target['kernel'] ?? begin.kernel;
  if (kernel !== begin.kernel) {
    throw new UsageError(
      `the run was begun on Linux ${begin.kernel}, this is ${kernel}`,
      `boot Linux ${begin.kernel} again, or begin a new run`,
    );
  }
  return record(begin, options, reducer, (take) => {
    const begun = reducer.underWay();
    take({ type: 'run-resume', command, target });
    if (boot === target[BOOT_ID]) return;
    for (const { id, durationMs } of begun) {
      take({
        type: 'verdict',
        id,
        status: 'crash',
        durationMs,
        failure: {
          kind: 'death',
          message: 'the machine went down in this test',
          calls: [],
          hints: [
            "look for the kernel's last words in /sys/fs/pstore, on the serial console or in the dump of kdump",
            'if it went down for another reason, run the test again',
          ],
        },
        kernelLog: [],
      });
    }
  });
}

async function record(
  begin: RunBegin,
  options: RunOptions,
  reducer: Reducer,
  open: (take: (event: JournalEvent) => void) => void,
): Promise<RunResults> {
  const { targets, directory } = options;
  const enough = new AbortController();
  const journal = new RunJournal(directory, 'run', enough);
  let failures = 0;
  const take = (event: JournalEvent, lane = 0): void => {
    const line = journal.append(event, lane);
    if (!line) return;
    const finished = reducer.apply(line);
    options.show(line, finished);
    if (finished && isBad(finished.status) && ++failures === options.bail) enough.abort();
  };
  open(take);

  let end: RunEnd = { outcome: 'finished', reason: '' };
  try {
    if (journal.lost) throw journal.lost;
    const done = new Set(reducer.results().tests.map(({ id }) => id));
    const wanted = plannedTests(begin).filter(({ id }) => !done.has(id));
    const signal = AbortSignal.any([options.signal, enough.signal]);
    const ends = await sideBySide(targets, enough, (target, lane) =>
      supervise({
        target,
        tests: wanted.filter((_, index) => index % targets.length === lane),
        record: (event) => take(event, lane),
        timeoutScale: begin.timeoutScale,
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
    take({ type: 'run-end', ...end });
    journal.close();
    if (!journal.lost) await writeReports(directory);
  }
  if (journal.lost) throw journal.lost;
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
