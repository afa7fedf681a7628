import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FoundRun, RunResults } from '../../reports/results.ts';
import { LiveDisplay, type Terminal } from '../../reports/terminal/display.ts';
import { labelled } from '../../reports/terminal/labelled.ts';
import type { TestMeta } from '../protocol/test.ts';
import { isActionable, UnsupportedError } from '../target/errors.ts';
import { executeRun } from './execute-run.ts';
import { runCommand, type RunArguments } from './run-options.ts';

/** One run of a matrix. */
export interface Combination {
  /** Its directory below the common one. */
  name: string;
  args: RunArguments;
}

export interface MatrixOptions {
  combinations: readonly Combination[];
  tests: TestMeta[];
  seed: string | null;
  /** Where each run gets a directory of its own. */
  directory: string;
  atOnce: number;
  out: Terminal;
  signal: AbortSignal;
}

export interface MatrixEnd {
  /** In the order of the combinations. */
  runs: FoundRun[];
  /** Combinations that cannot be: the kernel lacks what the machine needs. */
  leftOut: string[];
  /** Combinations that came to no result. */
  broken: string[];
}

/** Runs the combinations in their order, so many at once; one that breaks does not stop the others. */
export async function runMatrix(options: MatrixOptions): Promise<MatrixEnd> {
  const { combinations, directory, signal } = options;
  const results = new Map<string, RunResults>();
  const end: MatrixEnd = { runs: [], leftOut: [], broken: [] };
  const waiting = [...combinations];
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) {
      try {
        results.set(next.name, await runOne(next, options));
      } catch (error) {
        const list = error instanceof UnsupportedError ? end.leftOut : end.broken;
        list.push(`${next.name}: ${describe(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, lane));
  for (const { name } of combinations) {
    const found = results.get(name);
    if (found) end.runs.push({ directory: join(directory, name), results: found });
  }
  return end;
}

async function runOne({ name, args }: Combination, options: MatrixOptions): Promise<RunResults> {
  const { tests, seed, out, signal } = options;
  const display = new LiveDisplay(labelled(out, name), { quiet: args.quiet });
  const directory = join(options.directory, name);
  mkdirSync(directory);
  // What `run --resume` and `reproduce` need: the run as if it had been started alone.
  const command = runCommand({ ...args, results: undefined });
  try {
    return await executeRun(
      { args: { ...args, results: directory }, tests, directory, command, seed },
      {
        note: (text) => display.note(text),
        show: (line, finished) => display.show(line, finished),
        signal,
      },
    );
  } finally {
    display.close();
  }
}

function describe(error: unknown): string {
  if (isActionable(error)) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
