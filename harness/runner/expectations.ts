import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Expectation } from '../../reports/results.ts';
import { SetupError } from '../target/errors.ts';
import { matcher } from './select.ts';

/** One line of an expectation file. */
interface Line extends Expectation {
  pattern: string;
  matches(id: string): boolean;
}

export interface Expectations {
  /** Names of the files that were found, the more special ones last. */
  files: string[];
  /** What applies to a test; the last line of the most special file wins, a skip over all else. */
  of(id: string): Expectation | undefined;
}

const KINDS = { fails: 'fail', flakes: 'flake', skips: 'skip' } as const;
const OUTCOMES = ['fail', 'crash', 'timeout'] as const;

/** `6.1.0-32-amd64` → `6.1`; undefined if it does not begin like a release. */
export function kernelSeries(release: string): string | undefined {
  return /^(\d+\.\d+)/.exec(release)?.[1];
}

/**
 * Reads what is expected of a kernel on a machine: `all-*.txt`, `all-MACHINE-*.txt`, `SERIES-*.txt`
 * and `SERIES-MACHINE-*.txt`, each for `fails`, `flakes` and `skips`.
 */
export function readExpectations(directory: string, kernel: string, machine: string): Expectations {
  const series = kernelSeries(kernel);
  const stems = ['all', `all-${machine}`];
  if (series) stems.push(series, `${series}-${machine}`);
  const lines: Line[] = [];
  const files: string[] = [];
  for (const stem of stems) {
    for (const [suffix, kind] of Object.entries(KINDS)) {
      const name = `${stem}-${suffix}.txt`;
      const path = join(directory, name);
      if (!existsSync(path)) continue;
      files.push(name);
      lines.push(...parseExpectations(readFileSync(path, 'utf8'), name, kind));
    }
  }
  return {
    files,
    of(id) {
      const found = lines.filter((line) => line.matches(id));
      const line = found.findLast(({ kind }) => kind === 'skip') ?? found.at(-1);
      if (!line) return undefined;
      const { kind, outcome, reason, from } = line;
      return { kind, outcome, reason, from };
    },
  };
}

/**
 * Lines `id [fail|crash|timeout] # reason`; the id may be a glob, the outcome is `fail` unless said.
 * The reason is compulsory: an expectation nobody can explain hides a bug.
 */
export function parseExpectations(text: string, name: string, kind: Expectation['kind']): Line[] {
  const lines: Line[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const from = `${name}:${index + 1}`;
    const parts = /^(\S+)(?:\s+(\S+))?\s+#\s*(\S.*)$/.exec(line);
    const [, pattern = '', outcome = 'fail', reason = ''] = parts ?? [];
    if (!parts || !isOutcome(outcome)) {
      throw new SetupError(
        `expectations/${from} is not of the form 'id [${OUTCOMES.join('|')}] # reason'`,
        'correct the line; the reason is compulsory (a bug link, a commit, a sentence)',
      );
    }
    lines.push({ pattern, matches: matcher(pattern), kind, outcome, reason, from });
  }
  return lines;
}

function isOutcome(text: string): text is Expectation['outcome'] {
  return (OUTCOMES as readonly string[]).includes(text);
}
