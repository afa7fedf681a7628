import { stringify } from 'yaml';
import { earlyEnd, reasonOf } from './explain.ts';
import { isBad, type RunResults, type TestResult } from './results.ts';
import { oneLine, printable } from './text.ts';

/**
 * Flat TAP 13: one line a case, in the order of `results.tests`, each with a YAML block where there
 * is something to say. An early end leaves the plan unfulfilled, as TAP wants it.
 */
export function renderTap(results: RunResults): string {
  const { run, tests } = results;
  const planned = tests.length + run.notRun.length;
  const lines = [
    'TAP version 13',
    planned === 0 ? '1..0 # SKIP no test was selected' : `1..${planned}`,
  ];
  tests.forEach((test, index) => lines.push(...tapCase(test, index + 1)));
  const end = earlyEnd(results);
  if (end) lines.push(`Bail out! ${escapeTap(oneLine(end))}`);
  return lines.join('\n') + '\n';
}

function tapCase(test: TestResult, number: number): string[] {
  // An expected failure is a TAP "TODO": not ok, and yet no failure of the run.
  const ok = !isBad(test.status) && test.status !== 'xfail';
  const reason = escapeTap(oneLine(reasonOf(test))).replace(/\{$/, '(');
  const directive =
    test.status === 'skip'
      ? ` # SKIP ${reason}`
      : test.status === 'xfail'
        ? ` # TODO ${reason}`
        : '';
  return [
    `${ok ? 'ok' : 'not ok'} ${number} - ${tapName(test.id)}${directive}`,
    ...yamlBlock(test),
  ];
}

/** Ids are tame by nature; whatever is not becomes an underscore. */
function tapName(id: string): string {
  return id.replace(/[^\w.@:+/,=-]/g, '_');
}

function escapeTap(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('#', '\\#');
}

function yamlBlock(test: TestResult): string[] {
  const { failure } = test;
  const data = {
    ...(failure && { message: printable(failure.message) }),
    severity: test.status,
    at: test.file,
    duration_ms: test.durationMs,
    title: printable(test.title),
    ...(failure && {
      kind: failure.kind,
      ...(failure.expected !== undefined && { expected: printable(failure.expected) }),
      ...(failure.observed !== undefined && { observed: printable(failure.observed) }),
      ...(failure.calls.length > 0 && { calls: failure.calls.map(printable) }),
      ...(failure.hints.length > 0 && { hints: failure.hints.map(printable) }),
      ...(test.kernelLog.length > 0 && { kernel_log: test.kernelLog.map(printable) }),
      rerun: test.rerun,
    }),
    ...(test.skip.length > 0 && { skip: test.skip.map(printable) }),
  };
  // Double-quoted scalars keep every value on one line, so that no value can look like the `...`
  // that ends the block.
  const yaml = stringify(data, {
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'PLAIN',
    doubleQuotedMinMultiLineLength: Number.MAX_SAFE_INTEGER,
    lineWidth: 0,
  });
  return ['---', ...yaml.trimEnd().split('\n'), '...'].map((line) => `  ${line}`);
}
