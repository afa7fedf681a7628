import { comparedRun, type ComparedRun } from './compared-run.ts';
import { failureTitle } from './failure-title.ts';
import { normalise } from './splat/normalise.ts';
import type { RunResults, TestResult } from './results.ts';
import { count, oneLine } from './text.ts';

/** What can become of a test from one run to the next, the gravest first. */
export const CHANGES = {
  'newly-fails': 'newly fails',
  'fails-otherwise': 'fails in another way',
  'newly-passes': 'newly passes',
  'became-skip': 'became a skip',
  disappeared: 'disappeared',
  appeared: 'appeared',
  messages: 'other kernel messages',
  slower: 'got much slower',
} as const;

export type ChangeKind = keyof typeof CHANGES;

export interface Change {
  kind: ChangeKind;
  id: string;
  /** Status in A and in B; null where the test is missing. */
  before: TestResult['status'] | null;
  after: TestResult['status'] | null;
  /** Why, in one line; empty if the kind says it all. */
  detail: string;
  /** What the kernel said in one of the runs only; for `messages`. */
  messages?: { new: string[]; gone: string[] };
}

export interface Comparison {
  a: ComparedRun;
  b: ComparedRun;
  /** Tests that both runs have. */
  common: number;
  changes: Change[];
}

/** A test must take so much longer, in milliseconds too, before it is called slower: runs are noisy. */
const SLOWER_BY_MS = 500;

/**
 * What is otherwise in run B than in run A; of each test at most one change, the gravest.
 * @param slower factor on the duration from which on a test is much slower
 */
export function compareRuns(a: RunResults, b: RunResults, slower = 3): Comparison {
  const before = new Map(a.tests.map((test) => [test.id, test]));
  const after = new Map(b.tests.map((test) => [test.id, test]));
  const ids = [...new Set([...before.keys(), ...after.keys()])];
  const order = Object.keys(CHANGES);
  const changes = ids
    .flatMap((id) => changeOf(id, before.get(id), after.get(id), slower) ?? [])
    .sort((x, y) => order.indexOf(x.kind) - order.indexOf(y.kind));
  return {
    a: comparedRun(a.run),
    b: comparedRun(b.run),
    common: ids.filter((id) => before.has(id) && after.has(id)).length,
    changes,
  };
}

function changeOf(
  id: string,
  a: TestResult | undefined,
  b: TestResult | undefined,
  slower: number,
): Change | undefined {
  const change = (kind: ChangeKind, detail = ''): Change => ({
    kind,
    id,
    before: a?.status ?? null,
    after: b?.status ?? null,
    detail: oneLine(detail),
  });
  if (!a) return b && change(isFailure(b) ? 'newly-fails' : 'appeared', failureTitle(b) ?? '');
  if (!b) return change('disappeared');
  if (isFailure(b)) {
    const title = failureTitle(b) ?? '';
    if (!isFailure(a)) return change('newly-fails', title);
    const known = failureTitle(a) ?? '';
    // Known or not is a matter of the expectation files, not of the kernel.
    if (known !== title) return change('fails-otherwise', `${title}; before: ${known}`);
  } else if (b.status === 'skip') {
    return a.status === 'skip' ? undefined : change('became-skip', b.skip.join('; '));
  } else if (a.status === 'skip') {
    return change('newly-passes', `skipped before: ${a.skip.join('; ')}`);
  } else if (isFailure(a)) {
    return change('newly-passes', failureTitle(a) ?? '');
  }
  const messages = otherMessages(a.kernelLog, b.kernelLog);
  if (messages) return { ...change('messages', firstOf(messages)), messages };
  if (b.durationMs > a.durationMs * slower && b.durationMs - a.durationMs > SLOWER_BY_MS) {
    return change('slower', `${Math.round(a.durationMs)} ms → ${Math.round(b.durationMs)} ms`);
  }
  return undefined;
}

/** Whether a test ended badly, expected or not. */
export function isFailure({ status }: TestResult): boolean {
  return ['fail', 'error', 'crash', 'timeout', 'xfail'].includes(status);
}

/** The messages that only one of the logs has; how often each comes is not compared. */
function otherMessages(a: readonly string[], b: readonly string[]): Change['messages'] {
  const before = new Set(a.map(normalise));
  const after = new Set(b.map(normalise));
  const fresh = [...after].filter((line) => !before.has(line));
  const gone = [...before].filter((line) => !after.has(line));
  return fresh.length + gone.length > 0 ? { new: fresh, gone } : undefined;
}

/** How many there are, with the first of each. */
function firstOf({ new: fresh, gone }: NonNullable<Change['messages']>): string {
  const parts = [
    ...(fresh.length > 0 ? [`${fresh.length} new: ${fresh[0]}`] : []),
    ...(gone.length > 0 ? [`${gone.length} gone: ${gone[0]}`] : []),
  ];
  return parts.join('; ');
}

/** The comparison for people. */
export function renderComparison({ a, b, common, changes }: Comparison): string {
  const lines = [
    `A: Linux ${a.kernel} (${a.machine}), ${a.started}`,
    `B: Linux ${b.kernel} (${b.machine}), ${b.started}`,
  ];
  for (const [kind, words] of Object.entries(CHANGES)) {
    const found = changes.filter((change) => change.kind === kind);
    if (found.length === 0) continue;
    lines.push('', `${words} (${found.length}):`);
    for (const { id, before, after, detail } of found) {
      const states = before !== after && before && after ? ` ${before} → ${after}` : '';
      lines.push(`  ${id}${states}${detail === '' ? '' : `  ${detail}`}`);
    }
  }
  const verdict = changes.length === 0 ? 'no difference' : count(changes.length, 'difference');
  lines.push('', `${verdict} in ${count(common, 'common test')}`);
  return lines.join('\n') + '\n';
}
