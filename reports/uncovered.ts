import { existsSync, readFileSync } from 'node:fs';
import picomatch from 'picomatch';
import type { Uncovered } from './coverage.ts';
import { SetupError } from '../harness/target/errors.ts';

/**
 * Reads why uAPI items have no test, one a line: `ITEM # REASON`; ITEM may be a glob and then stands
 * for all that match, flags and values included.
 * @throws SetupError naming the line that is none.
 */
export function readUncovered(path: string): Uncovered[] {
  if (!existsSync(path)) return [];
  return parseUncovered(readFileSync(path, 'utf8'), 'uncovered.txt');
}

export function parseUncovered(text: string, name: string): Uncovered[] {
  return text.split('\n').flatMap((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return [];
    const from = `${name}:${index + 1}`;
    const [, pattern = '', reason = ''] = /^(\S+)\s+# (\S.*)$/.exec(line.trim()) ?? [];
    if (pattern === '') {
      throw new SetupError(
        `expectations/${from} is not of the form 'item # reason'`,
        'correct the line; the reason is compulsory',
      );
    }
    return [{ pattern, reason, from, matches: picomatch(pattern, { dot: true }) }];
  });
}
