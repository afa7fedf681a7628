import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../harness/target/errors.ts';
import { BENCH_FILE, BENCH_SCHEMA, type BenchResults } from '../bench-results.ts';
import { JOURNAL_FILE, readJournal } from '../journal.ts';
import { replaceFile } from '../replace-file.ts';
import { reduceBenchJournal } from './reduce.ts';
import { renderBench } from './text.ts';

/** The table for people. */
export const BENCH_TEXT = 'bench.txt';

/** Makes the files of a directory from its journal. */
export function writeBenchReports(directory: string): void {
  const results = reduceBenchJournal(readJournal(join(directory, JOURNAL_FILE)));
  replaceFile(join(directory, BENCH_FILE), JSON.stringify(results, null, 1) + '\n');
  replaceFile(join(directory, BENCH_TEXT), renderBench(results));
}

/** The table for people, made anew. */
export function renderedBench(directory: string): string {
  return renderBench(readBench(directory));
}

/** Whether a results directory holds benchmarks. */
export function isBenchDirectory(directory: string): boolean {
  return existsSync(join(directory, BENCH_FILE));
}

/** @throws UsageError if there are no benchmarks in it, or newer ones than this program knows */
export function readBench(directory: string): BenchResults {
  if (!isBenchDirectory(directory)) {
    throw new UsageError(
      `${directory} holds no benchmarks: there is no ${BENCH_FILE}`,
      'name a directory that `vfio-conformance bench` has written',
    );
  }
  const results = JSON.parse(readFileSync(join(directory, BENCH_FILE), 'utf8')) as BenchResults;
  if (results.schema !== BENCH_SCHEMA) {
    throw new UsageError(
      `${directory}/${BENCH_FILE} has schema ${String(results.schema)}, this program knows ${BENCH_SCHEMA}`,
      'use the version that wrote it',
    );
  }
  return results;
}
