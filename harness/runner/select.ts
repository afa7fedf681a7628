import picomatch from 'picomatch';
import { shuffle as shuffled } from 'simple-statistics';
import { UsageError } from '../target/errors.ts';
import { NEEDS } from '../protocol/needs.ts';
import type { TestMeta } from '../protocol/test.ts';
import { seededRandom } from '../../reports/random.ts';
import { didYouMean } from './suggest.ts';

/**
 * The tests that patterns name, in the order of the list, each once. A pattern is an id, the
 * beginning of ids up to a dot (`container`, `container.map-dma`), a glob (`*.reset*`), or the path of
 * a suite file. No pattern means all tests. A pattern that names nothing is an error.
 */
export function selectTests<T extends TestMeta>(
  tests: readonly T[],
  patterns: readonly string[],
): T[] {
  if (patterns.length === 0) return [...tests];
  const chosen = new Set<string>();
  for (const pattern of patterns) {
    const matches = matcher(pattern);
    const found = tests.filter((test) => matches(test.id) || isFile(pattern, test.file));
    if (found.length === 0) throw unknownTest(pattern, tests);
    for (const test of found) chosen.add(test.id);
  }
  return tests.filter((test) => chosen.has(test.id));
}

/** Whether an id is named by a pattern: equal, below it, or matching it as a glob. */
export function matcher(pattern: string): (id: string) => boolean {
  if (/[*?[\]{}!]/.test(pattern)) {
    // `@` is part of ids; only `@(` would be an extended glob, which nobody needs here.
    const glob = picomatch(pattern, { dot: true, noextglob: true });
    return (id) => glob(id);
  }
  return (id) => id === pattern || id.startsWith(`${pattern}.`) || id.startsWith(`${pattern}@`);
}

function isFile(pattern: string, file: string): boolean {
  if (!pattern.includes('/') && !/\.ts$/.test(pattern)) return false;
  const path = pattern.replace(/^\.\//, '').replace(/\/$/, '');
  return file === path || file.endsWith(`/${path}`) || file.startsWith(`${path}/`);
}

function unknownTest(pattern: string, tests: readonly TestMeta[]): UsageError {
  const names = new Set<string>();
  for (const { id } of tests) {
    const parts = id.split('.');
    for (let n = 1; n <= parts.length; n++) names.add(parts.slice(0, n).join('.'));
  }
  const guess = didYouMean(pattern, names);
  return new UsageError(
    `no test is called or matched by '${pattern}'`,
    guess || '`vfio-conformance list` prints all tests',
  );
}

/** Behind all others the tests that may leave a machine in which others fail. */
export function spoilersLast<T extends TestMeta>(tests: readonly T[]): T[] {
  const spoils = ({ needs }: T) => needs.includes(NEEDS.aerInject);
  return [...tests.filter((test) => !spoils(test)), ...tests.filter(spoils)];
}

/** The same tests in an order that the seed alone decides. */
export function shuffle<T>(items: readonly T[], seed: string): T[] {
  return shuffled([...items], seededRandom(seed));
}
