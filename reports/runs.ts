import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../harness/target/errors.ts';
import { JOURNAL_FILE, readJournal } from './journal.ts';
import { reduceJournal } from './reduce.ts';
import type { FoundRun } from './results.ts';

/**
 * Reads the runs of results directories, or of folders that hold such, each once, the oldest first.
 * An audit's directory has no run and is left out.
 * @throws UsageError naming a path where no run is
 */
export function findRuns(paths: readonly string[]): FoundRun[] {
  const directories = new Set(paths.flatMap(runDirectories));
  return [...directories]
    .flatMap((directory) => {
      const lines = readJournal(join(directory, JOURNAL_FILE));
      const isRun = lines.some(({ type }) => type === 'run-begin');
      return isRun ? [{ directory, results: reduceJournal(lines) }] : [];
    })
    .sort((a, b) => a.results.run.started.localeCompare(b.results.run.started));
}

function runDirectories(path: string): string[] {
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
