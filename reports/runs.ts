import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../harness/target/errors.ts';
import { holdsRun, JOURNAL_FILE, readJournal } from './journal.ts';
import { reduceJournal } from './reduce.ts';
import type { FoundRun } from './results.ts';

/**
 * Reads the runs of results directories, or of folders that hold such, each once, the oldest first.
 * An audit and benchmarks are no run and are left out.
 * @throws UsageError naming a path where no results are
 */
export function findRuns(paths: readonly string[]): FoundRun[] {
  return resultsDirectories(paths)
    .flatMap((directory) => {
      const lines = readJournal(join(directory, JOURNAL_FILE));
      return holdsRun(lines) ? [{ directory, results: reduceJournal(lines) }] : [];
    })
    .sort((a, b) => a.results.run.started.localeCompare(b.results.run.started));
}

/**
 * Results directories, given themselves or a folder that holds some, each once.
 * @throws UsageError naming a path where none is
 */
export function resultsDirectories(paths: readonly string[]): string[] {
  return [...new Set(paths.flatMap(directoriesAt))];
}

function directoriesAt(path: string): string[] {
  if (existsSync(join(path, JOURNAL_FILE))) return [path.replace(/(.)\/+$/, '$1')];
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const inside = (isFolder ? readdirSync(path, { withFileTypes: true }) : [])
    // A link such as `latest` points to one that is there under its own name.
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(path, name))
    .filter((entry) => existsSync(join(entry, JOURNAL_FILE)));
  if (inside.length > 0) return inside;
  throw new UsageError(
    `${path} is neither a results directory nor a folder with some: there is no ${JOURNAL_FILE}`,
    'name directories that `vfio-conformance run` has written, or `results` for all of them',
  );
}
