import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { JOURNAL_FILE, readJournal } from '../../reports/journal.ts';
import { replaceFile, writingReports } from '../../reports/replace-file.ts';
import { FuzzProgress } from './fuzz-progress.ts';

/** Writes `functions.txt` if the journal of this results directory says what fuzzers have reached. */
export function writeFunctions(directory: string): void {
  const journal = join(directory, JOURNAL_FILE);
  if (!existsSync(journal)) return;
  const progress = new FuzzProgress(() => {});
  for (const line of readJournal(journal)) progress.apply(line);
  const functions = progress.functions();
  if (functions === '') return;
  writingReports(directory, () => replaceFile(join(directory, 'functions.txt'), functions));
}
