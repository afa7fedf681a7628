import type { RunResults } from './results.ts';

/** Exit codes, as documented in `--help`. 4 is kselftest's code for a skip. */
export const EXIT = {
  asExpected: 0,
  failures: 1,
  usage: 2,
  setup: 3,
  skipped: 4,
  died: 5,
  interrupted: 130,
} as const;

/** The gravest first. */
const GRAVITY = [EXIT.interrupted, EXIT.died, EXIT.setup, EXIT.failures, EXIT.asExpected];

/** The exit code of several runs together. */
export function worstExitCode(codes: readonly number[]): number {
  return GRAVITY.find((code) => codes.includes(code)) ?? EXIT.skipped;
}

const DEATHS = ['guest-panic', 'guest-died', 'worker-died'];

/** The exit code that tells how a run went; the gravest thing that happened decides. */
export function exitCode(results: Pick<RunResults, 'run' | 'tests' | 'summary'>): number {
  const { run, summary } = results;
  if (run.outcome === 'interrupted') return EXIT.interrupted;
  if (run.outcome === 'broken') return EXIT.setup;
  if (run.outcome !== 'finished' && run.outcome !== 'bailed') return EXIT.died;
  // A death between two tests belongs to no test, but it is a death.
  const strayDeath = run.sessions.some(
    (session) => session.end !== null && DEATHS.includes(session.end) && session.during === null,
  );
  if (summary.crash > 0 || strayDeath) return EXIT.died;
  if (summary.fail + summary.timeout + summary.xpass > 0) return EXIT.failures;
  if (summary.error > 0) return EXIT.setup;
  if (results.tests.length > 0 && summary.skip === results.tests.length) return EXIT.skipped;
  return EXIT.asExpected;
}
