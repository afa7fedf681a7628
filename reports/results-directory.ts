import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UsageError } from '../harness/target/errors.ts';
import { DOSSIERS, writeDossiers } from './dossier.ts';
import { holdsRun, JOURNAL_FILE, readJournal } from './journal.ts';
import { renderJunit } from './junit.ts';
import { renderKernelLog } from './kernel-log.ts';
import { renderKtap } from './ktap.ts';
import { reduceJournal } from './reduce.ts';
import { replaceFile, writingReports } from './replace-file.ts';
import type { RunResults } from './results.ts';
import { renderTap } from './tap.ts';

/** The HTML report of a run, in its results directory. */
export const HTML_FILE = 'report.html';

/** The files of a results directory, with what they are for. */
export const RESULT_FILES = {
  [HTML_FILE]: 'all that people want to know, in one page',
  'results.json': 'everything, for programs (docs/results-schema.md)',
  'junit.xml': 'JUnit XML for Jenkins and GitLab',
  'results.tap': 'TAP',
  'results.ktap': 'kernel TAP',
  'kernel.log': 'what the kernel said during each test',
  [DOSSIERS]: 'one folder a failure: what was broken, calls, kernel log, C program',
  'console.log': 'the console of the guest',
  [JOURNAL_FILE]: 'the journal, from which all others are made',
} as const;

/**
 * Makes the directory of a run: the one asked for, or `results/<time>-<kernel>` below the working
 * directory.
 */
export function makeResultsDirectory(
  wanted: string | undefined,
  kernel: string,
  now: Date,
): string {
  if (wanted !== undefined) {
    if (existsSync(wanted) && readdirSync(wanted).length > 0) {
      throw new UsageError(
        `${wanted} is not empty`,
        'name a directory that does not exist yet, or remove this one',
      );
    }
    makeWritable(wanted);
    return wanted;
  }
  const parent = 'results';
  makeWritable(parent);
  const stem = join(parent, `${timestamp(now)}-${kernel.replace(/[^\w.+-]/g, '_')}`);
  let directory = stem;
  for (let n = 2; ; n++) {
    try {
      mkdirSync(directory);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      directory = `${stem}.${n}`;
    }
  }
  return directory;
}

function makeWritable(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
  } catch (error) {
    throw new UsageError(
      `no results can be written: ${(error as Error).message}`,
      'name another directory: --results DIR',
    );
  }
}

/** Local time, sortable: `20261122-143005`. */
function timestamp(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  return (
    `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}` +
    `-${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`
  );
}

/** Makes `latest` beside the directory point to it, in one step, so that nobody finds it missing. */
export function pointLatest(directory: string): void {
  const link = join(dirname(directory), 'latest');
  const fresh = `${link}.${process.pid}`;
  rmSync(fresh, { force: true });
  symlinkSync(basename(directory), fresh);
  try {
    renameSync(fresh, link);
  } catch {
    // Somebody keeps a real directory of that name: theirs.
    rmSync(fresh, { force: true });
  }
}

/**
 * Makes all reports of a directory but the HTML page from its journal, as often as one likes.
 * @throws SetupError if there is no room
 */
export async function writeReports(directory: string): Promise<RunResults> {
  const results = reduceJournal(readJournal(join(directory, JOURNAL_FILE)));
  const tap = renderTap(results);
  write(directory, 'results.json', JSON.stringify(results, null, 2) + '\n');
  write(directory, 'results.tap', tap);
  write(directory, 'results.ktap', renderKtap(results));
  write(directory, 'kernel.log', renderKernelLog(results));
  writingReports(directory, () => writeDossiers(directory, results));
  write(directory, 'junit.xml', await renderJunit(results, tap));
  return results;
}

/** Reads the results of a directory from its journal, which holds them even when the run was killed. */
export function readResults(directory: string): RunResults {
  const journal = join(directory, JOURNAL_FILE);
  if (!existsSync(journal)) {
    throw new UsageError(
      `${directory} is not a results directory: it has no ${JOURNAL_FILE}`,
      'name a directory that `vfio-conformance run` has written, `results/latest` for instance',
    );
  }
  const lines = readJournal(journal);
  if (!holdsRun(lines)) {
    throw new UsageError(
      `${directory} holds no run of tests`,
      'name a directory of `run`; those of benchmarks and audits have another form',
    );
  }
  return reduceJournal(lines);
}

function write(directory: string, name: keyof typeof RESULT_FILES, content: string): void {
  writingReports(directory, () => replaceFile(join(directory, name), content));
}
