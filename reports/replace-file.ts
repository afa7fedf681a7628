import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SetupError } from '../harness/target/errors.ts';

/** Never half a file: a reader sees the old report or the new one. */
export function replaceFile(path: string, content: string): void {
  const fresh = join(dirname(path), `.${basename(path)}.new`);
  try {
    writeFileSync(fresh, content);
    renameSync(fresh, path);
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error;
  }
}

/** What is wrong with a disk or with the rights on it, and no defect of ours: what to do. */
const UNWRITABLE: Record<string, string> = {
  ENOSPC: 'make room',
  EDQUOT: 'make room',
  EROFS: 'mend the disk',
  EIO: 'mend the disk',
  EACCES: 'get the right to write there',
  EPERM: 'get the right to write there',
};

/**
 * Writes reports of a run.
 * @param directory of its results
 * @throws SetupError that says how to get them, if that is not possible
 */
export function writingReports(directory: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    const next = UNWRITABLE[code];
    if (next === undefined) throw error;
    throw new SetupError(
      `the reports cannot be written: ${message}`,
      `the journal is whole: ${next}, then \`vfio-conformance report ${directory}\``,
    );
  }
}
