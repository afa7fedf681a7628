import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DOSSIERS, dossierName } from './dossier.ts';
import { failureTitle } from './failure-title.ts';
import type { FoundRun } from './results.ts';
import { count, oneLine } from './text.ts';

/** All failures of one title. */
export interface FailureGroup {
  title: string;
  failures: number;
  /** Failures that an expectation file announced. */
  known: number;
  runs: number;
  /** ISO times of the first and the last run that had it. */
  first: string;
  last: string;
  kernels: string[];
  tests: string[];
  /** The shortest program that shows it, with its lines; null if no dossier has one. */
  reproducer: { path: string; lines: number } | null;
}

/** Failures by title: what came last comes first, and among those what came most often. */
export function triage(runs: readonly FoundRun[]): FailureGroup[] {
  const groups = new Map<string, FailureGroup & { directories: Set<string> }>();
  for (const { directory, results } of runs) {
    const { started, kernel } = results.run;
    for (const test of results.tests) {
      const title = test.status === 'xpass' ? null : failureTitle(test);
      if (title === null) continue;
      const group = groups.get(title) ?? {
        title,
        failures: 0,
        known: 0,
        runs: 0,
        first: started,
        last: started,
        kernels: [],
        tests: [],
        reproducer: null,
        directories: new Set<string>(),
      };
      groups.set(title, group);
      group.failures += 1;
      if (test.status === 'xfail') group.known += 1;
      group.directories.add(directory);
      group.runs = group.directories.size;
      if (started < group.first) group.first = started;
      if (started > group.last) group.last = started;
      if (!group.kernels.includes(kernel)) group.kernels.push(kernel);
      if (!group.tests.includes(test.id)) group.tests.push(test.id);
      group.reproducer = shorter(
        group.reproducer,
        join(directory, DOSSIERS, dossierName(test.id), 'reproducer.c'),
      );
    }
  }
  return [...groups.values()]
    .map(({ directories: _, ...group }) => group)
    .sort((a, b) => b.last.localeCompare(a.last) || b.failures - a.failures);
}

const SHOWN_TESTS = 5;

/** The groups for people. */
export function renderTriage(groups: readonly FailureGroup[]): string {
  if (groups.length === 0) return 'no failures\n';
  return groups
    .map((group) => {
      const { title, failures, known, runs, first, last, kernels, tests, reproducer } = group;
      const more = tests.length > SHOWN_TESTS ? `, ${tests.length - SHOWN_TESTS} more` : '';
      const when = first === last ? last : `${last}, first ${first}`;
      return [
        `${failures}x ${oneLine(title)}${known > 0 ? ` (${known} known)` : ''}`,
        `    last ${when}, in ${count(runs, 'run')}, on ${kernels.join(', ')}`,
        `    ${tests.slice(0, SHOWN_TESTS).join(', ')}${more}`,
        ...(reproducer ? [`    ${reproducer.path} (${count(reproducer.lines, 'line')})`] : []),
        '',
      ].join('\n');
    })
    .join('\n');
}

function shorter(known: FailureGroup['reproducer'], path: string): FailureGroup['reproducer'] {
  if (!existsSync(path)) return known;
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n').length;
  return known !== null && known.lines <= lines ? known : { path, lines };
}
