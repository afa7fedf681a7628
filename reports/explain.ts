import { count, linesOf } from './text.ts';
import type { Failure } from '../harness/protocol/test.ts';
import type { RunResults, TestResult } from './results.ts';

/** Everything known about why a test ended as it did, as lines for people. Empty if there is nothing to say. */
export function explain(test: TestResult): string[] {
  const lines: string[] = [];
  const { failure } = test;
  if (failure) {
    lines.push(...linesOf(failure.message));
    if (failure.expected !== undefined) lines.push(...labelled('expected: ', failure.expected));
    if (failure.observed !== undefined) lines.push(...labelled('observed: ', failure.observed));
    if (failure.calls.length > 0) lines.push('calls:', ...failure.calls.map((call) => `  ${call}`));
    lines.push(...stackLines(failure));
  }
  if (test.kernelLog.length > 0 && failure) {
    lines.push('kernel log:', ...test.kernelLog.map((line) => `  ${line}`));
  }
  if (test.expectation && test.status === 'xfail') {
    lines.push(`known: ${test.expectation.reason} (${test.expectation.from})`);
  }
  for (const hint of failure?.hints ?? []) lines.push(`hint: ${hint}`);
  if (failure) lines.push(`run it again: ${test.rerun}`);
  return lines;
}

/** Of an assertion the places (its message is said already), of a death all that was collected. */
function stackLines({ kind, stack }: Failure): string[] {
  if (!stack) return [];
  const lines = linesOf(stack);
  if (kind === 'death') return ['evidence:', ...lines.map((line) => `  ${line}`)];
  const places = lines.filter((line) => /^\s*at /.test(line)).map((line) => `  ${line.trim()}`);
  return places.length > 0 ? ['stack:', ...places] : [];
}

function labelled(label: string, text: string): string[] {
  const [first = '', ...rest] = linesOf(text);
  return [label + first, ...rest.map((line) => ' '.repeat(label.length) + line)];
}

/** One line for a list: why a test is not a plain pass. */
export function reasonOf(test: TestResult): string {
  switch (test.status) {
    case 'pass':
      return '';
    case 'skip':
      return test.skip.join('; ');
    case 'xfail':
      return test.expectation?.reason ?? '';
    default:
      return linesOf(test.failure?.message ?? '')[0] ?? '';
  }
}

/** Why a run holds fewer results than planned; undefined if it is complete. */
export function earlyEnd(results: RunResults): string | undefined {
  const { outcome, reason, notRun } = results.run;
  if (outcome === 'finished') return undefined;
  const missing = notRun.length > 0 ? `; ${count(notRun.length, 'test')} not run` : '';
  return `${outcome}: ${reason}${missing}`;
}
