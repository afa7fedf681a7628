import type { Environment } from '../harness/protocol/events.ts';
import type { Failure, Status } from '../harness/protocol/test.ts';

/** Bumped when a reader of an older `results.json` would misunderstand a newer one. */
export const RESULTS_SCHEMA = 1;

/**
 * How the run as a whole came to its end. `bailed`: as many failures as `--bail` allows. `aborted`:
 * too many deaths. `broken`: the target could not
 * be brought up, or not be kept up. `interrupted`: by a signal. `unfinished`: the journal stops in
 * the middle (power cut, kill -9).
 */
export type Outcome = 'finished' | 'bailed' | 'aborted' | 'broken' | 'interrupted' | 'unfinished';

/** An expectation of `expectations/` that applies to a test of this run. */
export interface Expectation {
  kind: 'fail' | 'flake' | 'skip';
  /** The bad end that is expected, for `fail` and `flake`. */
  outcome: 'fail' | 'crash' | 'timeout';
  reason: string;
  /** `7.3-fails.txt:12` */
  from: string;
}

/** One boot of a guest or one worker process. */
export interface SessionRecord {
  started: string;
  finished: string | null;
  /** Time from start to the worker's first word, milliseconds. */
  bootMs: number | null;
  end: string | null;
  detail: string;
  /** The test that was running when the session ended otherwise than by the worker's own decision. */
  during: string | null;
}

export interface TestResult {
  id: string;
  suite: string;
  title: string;
  file: string;
  status: Status;
  /** Wall time from begin to end, as the worker measured it, or the supervisor if the worker could not. */
  durationMs: number;
  /** All reasons for a skip; empty for every other status. */
  skip: string[];
  failure: Failure | null;
  /** The expectation that made this an `xfail` or `xpass`, or skipped it. */
  expectation: Expectation | null;
  kernelLog: string[];
  covers: string[];
  source: string[];
  since: string | null;
  until: string | null;
  fixes: string[];
  needs: string[];
  peer: string[];
  /** ISO time of its beginning; null if it was never begun (an expected skip). */
  started: string | null;
  /** Index in `run.sessions`; null if it was never begun. */
  session: number | null;
  /** The command that runs just this test again. */
  rerun: string;
}

export type Summary = Record<Status, number>;

export interface RunResults {
  schema: typeof RESULTS_SCHEMA;
  run: {
    started: string;
    finished: string | null;
    durationMs: number;
    outcome: Outcome;
    /** Why the run ended early; empty when finished. */
    reason: string;
    exitCode: number;
    /** Kernel release as the tested machine says it, `7.3.4+deb13-amd64`. */
    kernel: string;
    machine: string;
    /** As typed, program name first. */
    command: string[];
    /** Version of vfio-conformance. */
    version: string;
    environment: Environment;
    sessions: SessionRecord[];
    /** Planned tests without a result, in order. */
    notRun: string[];
    /** Files of `expectations/` that were read. */
    expectations: string[];
    timeoutScale: number;
    /** Seed of the order, if it was shuffled. */
    seed: string | null;
    /** `2/3` if the run is one shard of several. */
    shard: string | null;
  };
  tests: TestResult[];
  summary: Summary;
}

/** A run with the results directory where it was found. */
export interface FoundRun {
  directory: string;
  results: RunResults;
}

/** Statuses that are not as expected: each of them makes the run fail. */
const BAD: readonly Status[] = ['fail', 'error', 'crash', 'timeout', 'xpass'];

export function isBad(status: Status): boolean {
  return BAD.includes(status);
}

export function emptySummary(): Summary {
  return { pass: 0, fail: 0, skip: 0, error: 0, crash: 0, timeout: 0, xfail: 0, xpass: 0 };
}
