import { existsSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../harness/target/errors.ts';
import { JOURNAL_FILE } from './journal.ts';
import { readResults } from './results-directory.ts';
import type { RunResults } from './results.ts';

/** A run with the place where it was found. */
export interface FoundRun {
  directory: string;
  results: RunResults;
}

/**
 * Reads the runs of results directories, or of folders that hold such, each once, the oldest first.
 * An audit's directory has no run and is left out.
 * @throws UsageError naming a path where no run is
 */
export function findRuns(paths: readonly string[]): FoundRun[] {
  const directories = new Set(paths.flatMap(runDirectories));
  return [...directories]
    .flatMap((directory) => {
      const results = tryRead(directory);
      return results ? [{ directory, results }] : [];
    })
    .sort((a, b) => a.results.run.started.localeCompare(b.results.run.started));
}

function runDirectories(path: string): string[] {
  if (existsSync(join(path, JOURNAL_FILE))) return [path.replace(/(.)\/+$/, '$1')];
  const inside = existsSync(path)
    ? readdirSync(path)
        .map((name) => join(path, name))
        // `latest` points to one that is there under its own name.
        .filter((entry) => !lstatSync(entry).isSymbolicLink())
        .filter((entry) => existsSync(join(entry, JOURNAL_FILE)))
    : [];
  if (inside.length > 0) return inside;
  throw new UsageError(
    `${path} is neither a results directory nor a folder with some: there is no ${JOURNAL_FILE}`,
    'name directories that `vfio-conformance run` has written, or `results` for all of them',
  );
}

function tryRead(directory: string): RunResults | undefined {
  try {
    return readResults(directory);
  } catch {
    return undefined;
  }
}
