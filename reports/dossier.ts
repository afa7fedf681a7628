import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../harness/protocol/events.ts';
import type { Failure, Status } from '../harness/protocol/test.ts';
import { UsageError } from '../harness/target/errors.ts';
import { explain } from './explain.ts';
import { failureTitle } from './failure-title.ts';
import { replaceFile } from './replace-file.ts';
import type { RunResults, TestResult } from './results.ts';
import { printable } from './text.ts';

export const DOSSIERS = 'dossiers';

/** `environment.json` of a dossier: what a program needs to make the failure happen again. */
export interface DossierFacts {
  schema: 1;
  id: string;
  /** The sentence that was broken. */
  promise: string;
  status: Status;
  kind: Failure['kind'];
  /** Normalised: the same for the same bug in every run. */
  title: string;
  kernel: string;
  machine: string;
  /** Version of vfio-conformance. */
  version: string;
  /** The run as typed, program name first: with the options of its machine. */
  command: string[];
  /** The command that runs just this test again. */
  rerun: string;
  started: string | null;
  seed: string | null;
  timeoutScale: number;
  source: string[];
  covers: string[];
  environment: Environment;
  failure: Pick<Failure, 'message' | 'expected' | 'observed'>;
}

/** A dossier as read back. */
export interface Dossier {
  folder: string;
  facts: DossierFacts;
  readme: string;
  calls: string;
  kernelLog: string;
  /** Path of the C program; null if none could be made, as for a test whose worker died. */
  reproducer: string | null;
}

/** Results that get a dossier: failures, known ones too. An unexpected pass has nothing to show. */
function deservesDossier({ status, failure }: TestResult): boolean {
  return failure !== null && status !== 'xpass';
}

/** Writes `dossiers/<id>/` of each failure; those of an earlier report of this run are replaced. */
export function writeDossiers(directory: string, results: RunResults): void {
  const parent = join(directory, DOSSIERS);
  const failed = results.tests.filter(deservesDossier);
  const stale = existsSync(parent) ? readdirSync(parent) : [];
  const names = new Set(failed.map(({ id }) => dossierName(id)));
  for (const name of stale) if (!names.has(name)) rmSync(join(parent, name), { recursive: true });
  for (const test of failed) writeDossier(join(parent, dossierName(test.id)), test, results);
  if (failed.length === 0) rmSync(parent, { recursive: true, force: true });
}

/** Reads a dossier. @throws UsageError if the folder is none */
export function readDossier(folder: string): Dossier {
  const facts = join(folder, 'environment.json');
  if (!existsSync(facts)) {
    throw new UsageError(
      `${folder} is not a dossier: it has no environment.json`,
      'name a folder below dossiers/ of a results directory, results/latest/dossiers/ID for instance',
    );
  }
  const text = (name: string) =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '';
  const reproducer = join(folder, 'reproducer.c');
  return {
    folder,
    facts: JSON.parse(text('environment.json')) as DossierFacts,
    readme: text('README.txt'),
    calls: text('calls.txt'),
    kernelLog: text('kernel.log'),
    reproducer: existsSync(reproducer) ? reproducer : null,
  };
}

function writeDossier(folder: string, test: TestResult, results: RunResults): void {
  mkdirSync(folder, { recursive: true });
  const { run } = results;
  const facts: DossierFacts = {
    schema: 1,
    id: test.id,
    promise: test.title,
    status: test.status,
    kind: test.failure?.kind ?? 'assertion',
    title: failureTitle(test) ?? test.id,
    kernel: run.kernel,
    machine: run.machine,
    version: run.version,
    command: run.command,
    rerun: test.rerun,
    started: test.started,
    seed: run.seed,
    timeoutScale: run.timeoutScale,
    source: test.source,
    covers: test.covers,
    environment: run.environment,
    failure: {
      message: test.failure?.message ?? '',
      expected: test.failure?.expected,
      observed: test.failure?.observed,
    },
  };
  const files: Record<string, string | undefined> = {
    'README.txt': readme(folder, test, facts),
    'calls.txt': linesOrNothing(test.failure?.calls ?? []),
    'kernel.log': linesOrNothing(test.kernelLog),
    'reproducer.c': isProgram(test.failure?.reproducer) ? test.failure.reproducer : undefined,
    'environment.json': JSON.stringify(facts, null, 2) + '\n',
  };
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    if (content === undefined) {
      rmSync(path, { force: true });
      continue;
    }
    replaceFile(path, content);
  }
}

function readme(folder: string, test: TestResult, facts: DossierFacts): string {
  const program = isProgram(test.failure?.reproducer);
  const environment = Object.entries(facts.environment).map(
    ([name, value]) => `  ${name}: ${Array.isArray(value) ? value.join(', ') : String(value)}`,
  );
  const lines = [
    `${test.id}: ${test.status}`,
    `  ${facts.title}`,
    '',
    'The promise that was broken:',
    `  ${test.title}`,
    ...test.source.map((source) => `  (${source})`),
    '',
    ...explain(test),
    ...(program
      ? [
          `reproduce it: npx vfio-conformance reproduce ${folder}`,
          'or by hand: gcc -std=gnu11 -pthread -o reproducer reproducer.c && ./reproducer',
        ]
      : []),
    '',
    `Linux ${facts.kernel}, machine ${facts.machine}, vfio-conformance ${facts.version}`,
    ...(facts.seed === null ? [] : [`order: --shuffle ${facts.seed}`]),
    ...environment,
  ];
  return lines.map(printable).join('\n') + '\n';
}

/** Instead of a program that would be too long there is but a comment that says so. */
function isProgram(source: string | undefined): source is string {
  return source !== undefined && source.includes('int main(');
}

/** The folder of a test's dossier. Ids are words with dots and `@`; no slash may lead elsewhere. */
export function dossierName(id: string): string {
  return id.replaceAll('/', '_');
}

function linesOrNothing(lines: readonly string[]): string {
  return lines.map((line) => `${printable(line)}\n`).join('');
}
