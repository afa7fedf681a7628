import type { TestMeta } from '../harness/protocol/test.ts';
import type { Uapi } from '../harness/protocol/uapi.ts';
import { count } from './text.ts';

/** Why an item needs no test; a line of `expectations/uncovered.txt`. */
export interface Uncovered {
  pattern: string;
  reason: string;
  /** `uncovered.txt:12` */
  from: string;
  matches(key: string): boolean;
}

/** What coverage is measured by. */
export interface CoverageGoal {
  uapi: Uapi;
  reasons: readonly Uncovered[];
}

/** A row of the coverage table. */
export interface CoverageRow {
  item: string;
  /** What the ioctl is made on. */
  fd: string;
  /** Ids of the tests that name the item; of an ioctl also those that name a part of it. */
  tests: string[];
  /** Why there is none; null if there are tests, or no reason. */
  reason: string | null;
}

export interface Coverage {
  rows: CoverageRow[];
  /** What tests name, but no header offers: misspelt. */
  unknown: { item: string; tests: string[] }[];
  /** Lines of `uncovered.txt` that excuse nothing: the item has tests by now, or does not exist. */
  needless: string[];
}

/** Whether the headers offer what a test says it covers. */
export function isKnownItem(uapi: Uapi, key: string): boolean {
  const [ioctl, errno, ...more] = key.split(':');
  return (
    uapi.items.some((item) => item.key === key) ||
    (more.length === 0 &&
      errno !== undefined &&
      uapi.errnos.includes(errno) &&
      uapi.items.some((item) => item.key === ioctl))
  );
}

/**
 * The table uAPI item × test. Errnos are items as far as tests name them: no header says which
 * errnos an ioctl may return.
 * @param suite only the items that belong to it: those it tests, and those of its kind of fd
 */
export function coverageOf(
  uapi: Uapi,
  tests: readonly Pick<TestMeta, 'id' | 'suite' | 'covers'>[],
  reasons: readonly Uncovered[],
  suite?: string,
): Coverage {
  const named = new Map<string, string[]>();
  for (const { id, covers } of tests) {
    for (const key of new Set(covers)) named.set(key, [...(named.get(key) ?? []), id]);
  }
  const suiteOf = new Map(tests.map((test) => [test.id, test.suite]));
  const used = new Set<Uncovered>();
  const rows = [...uapi.items, ...errnoItems(uapi, named)].map(({ key, ioctl, fd }) => {
    const found =
      key === ioctl
        ? [...named].flatMap(([other, ids]) =>
            other === key || other.startsWith(`${key}:`) ? ids : [],
          )
        : (named.get(key) ?? []);
    const excuse = found.length > 0 ? undefined : reasons.find(({ matches }) => matches(key));
    if (excuse) used.add(excuse);
    return { item: key, fd, tests: [...new Set(found)], reason: excuse?.reason ?? null };
  });
  return {
    rows: rows.filter(
      ({ fd, tests: ids }) =>
        suite === undefined || fd === suite || ids.some((id) => suiteOf.get(id) === suite),
    ),
    unknown: [...named]
      .filter(([key]) => !isKnownItem(uapi, key))
      .map(([item, ids]) => ({ item, tests: ids })),
    needless: reasons
      .filter((line) => !used.has(line))
      .map(({ from, pattern }) => `${from}: ${pattern}`),
  };
}

/** Items of a table that have neither a test nor a reason. */
export function uncoveredItems({ rows }: Coverage): string[] {
  return rows.flatMap(({ item, tests, reason }) =>
    tests.length === 0 && reason === null ? [item] : [],
  );
}

/** Whether a table shows a gap, a misspelt item or an excuse that is not needed. */
export function isIncomplete(coverage: Coverage): boolean {
  return uncoveredItems(coverage).length + coverage.unknown.length + coverage.needless.length > 0;
}

const SHOWN_TESTS = 3;

/** The table for people; the JSON form has all tests of each item. */
export function renderCoverage(coverage: Coverage): string {
  const { rows, unknown, needless } = coverage;
  const width = Math.max(0, ...rows.map(({ item }) => item.length));
  const lines = rows.map(({ item, tests, reason }) => {
    const shown = tests.slice(0, SHOWN_TESTS).join(', ');
    const more = tests.length > SHOWN_TESTS ? `, ${tests.length - SHOWN_TESTS} more` : '';
    const text =
      tests.length > 0
        ? `${String(tests.length).padStart(4)}  ${shown}${more}`
        : reason !== null
          ? `   -  ${reason}`
          : '   0  UNCOVERED';
    return `${item.padEnd(width)}  ${text}`;
  });
  for (const { item, tests } of unknown)
    lines.push(`unknown item ${item}, named by ${tests.join(', ')}`);
  for (const line of needless) lines.push(`needless excuse ${line}`);
  const excused = rows.filter(({ reason }) => reason !== null).length;
  const gaps = uncoveredItems(coverage).length;
  lines.push(
    `${count(rows.length, 'item')}: ${rows.length - excused - gaps} covered, ` +
      `${excused} excused, ${gaps} uncovered`,
  );
  return lines.join('\n') + '\n';
}

function errnoItems(uapi: Uapi, named: ReadonlyMap<string, string[]>): Uapi['items'] {
  const known = new Set(uapi.items.map(({ key }) => key));
  return [...named.keys()].sort().flatMap((key) => {
    const ioctl = key.split(':', 1)[0] ?? '';
    const owner = uapi.items.find((item) => item.key === ioctl);
    return owner && !known.has(key) && isKnownItem(uapi, key) ? [{ key, ioctl, fd: owner.fd }] : [];
  });
}
