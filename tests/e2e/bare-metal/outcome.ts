/** A worker with the tests of `suites/` alone: one with all tests takes seconds longer to start when emulated. */
export const WORKER = 'dist/e2e-bare-metal-worker.mjs';

/** File in the guest's $RESULTS that the scenario leaves at its end. */
export const OUTCOME = 'outcome.json';

/** What a scenario found. */
export interface Outcome {
  /** Times that something was done to the machine: kills, power cuts. */
  rounds: number;
  /** In how many of them the run had taken devices when it ended. */
  hits: number;
  /** What was otherwise than it has to be, in words. */
  problems: string[];
  /** Output of commands, by name. */
  outputs: Record<string, string>;
}
