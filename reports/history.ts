import type { Status } from '../harness/protocol/test.ts';
import { isFailure } from './compare.ts';
import type { FoundRun } from './results.ts';
import { count } from './text.ts';

export interface History {
  /** The columns, the oldest first. */
  runs: { directory: string; started: string; kernel: string; machine: string }[];
  tests: {
    id: string;
    /** One a run; null where the test has no result. */
    statuses: (Status | null)[];
    /** Kernel and machine on which it both passed and failed. */
    flakes: { on: string; failed: number; of: number }[];
  }[];
}

/** The table test × run. */
export function historyOf(runs: readonly FoundRun[]): History {
  const columns = runs.map(({ results }) => new Map(results.tests.map((test) => [test.id, test])));
  const places = runs.map(({ results: { run } }) => `${run.kernel} (${run.machine})`);
  const ids = [...new Set(columns.flatMap((column) => [...column.keys()]))];
  return {
    runs: runs.map(({ directory, results: { run } }) => ({
      directory,
      started: run.started,
      kernel: run.kernel,
      machine: run.machine,
    })),
    tests: ids.map((id) => ({
      id,
      statuses: columns.map((column) => column.get(id)?.status ?? null),
      flakes: [...new Set(places)].flatMap((on) => {
        const ended = columns.flatMap((column, index) => {
          const test = places[index] === on ? column.get(id) : undefined;
          return test && test.status !== 'skip' ? [isFailure(test)] : [];
        });
        const failed = ended.filter(Boolean).length;
        return failed > 0 && failed < ended.length ? [{ on, failed, of: ended.length }] : [];
      }),
    })),
  };
}

/** Whether a test passed in every run that has it, or was skipped in every one. */
export function isSteady({ statuses }: History['tests'][number]): boolean {
  const [first, ...others] = new Set(statuses.filter((status) => status !== null));
  return others.length === 0 && (first === 'pass' || first === 'skip');
}

const LETTERS: Record<Status, string> = {
  pass: '.',
  fail: 'F',
  error: 'E',
  crash: 'C',
  timeout: 'T',
  xfail: 'x',
  xpass: 'X',
  skip: 's',
};

/**
 * The table for people: one letter a run.
 * @param all also the tests that passed in every run that has them, or were skipped in every one
 */
export function renderHistory({ runs, tests }: History, all: boolean): string {
  const lines = runs.map(
    ({ directory, started, kernel, machine }, index) =>
      `${String(index + 1).padStart(3)}  ${started}  Linux ${kernel} (${machine})  ${directory}`,
  );
  const shown = tests.filter((test) => all || !isSteady(test));
  const width = Math.max(0, ...shown.map(({ id }) => id.length));
  lines.push('');
  for (const { id, statuses, flakes } of shown) {
    const letters = statuses.map((status) => (status === null ? ' ' : LETTERS[status])).join('');
    const rates = flakes.map(({ on, failed, of }) => `  flake: ${failed} of ${of} on ${on}`);
    lines.push(`${id.padEnd(width)}  ${letters}${rates.join('')}`.trimEnd());
  }
  const same = tests.length - shown.length;
  const absent = tests.filter(({ statuses }) => statuses.includes(null)).length;
  lines.push(
    '',
    `${count(tests.length, 'test')} in ${count(runs.length, 'run')}` +
      (same > 0 ? `, ${same} the same in all that have them` : '') +
      (absent > 0 ? `, ${absent} not in every run` : '') +
      `, ${count(tests.filter(({ flakes }) => flakes.length > 0).length, 'flake')}`,
    '. pass  F fail  E error  C crash  T timeout  x known failure  X unexpected pass  s skip',
  );
  return lines.join('\n') + '\n';
}
