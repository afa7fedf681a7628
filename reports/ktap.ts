import { earlyEnd, explain, reasonOf } from './explain.ts';
import { isBad, type RunResults, type TestResult } from './results.ts';
import { oneLine, printable } from './text.ts';

/**
 * KTAP version 1 (Documentation/dev-tools/ktap.rst): the suites are tests, the test cases their
 * subtests. A suite's plan counts what was planned, so that a parser sees what is missing.
 */
export function renderKtap(results: RunResults): string {
  const suites = new Map<string, TestResult[]>();
  const missing = new Map<string, number>();
  for (const test of results.tests) append(suites, test.suite, test);
  for (const id of results.run.notRun) {
    const suite = id.split('.', 1)[0] ?? id;
    if (!suites.has(suite)) suites.set(suite, []);
    missing.set(suite, (missing.get(suite) ?? 0) + 1);
  }

  const lines = ktapHead(results.run, suites.size);
  let number = 0;
  for (const [suite, tests] of suites) {
    const absent = missing.get(suite) ?? 0;
    const nested = ['KTAP version 1', `1..${tests.length + absent}`];
    tests.forEach((test, index) => nested.push(...ktapCase(test, index + 1)));
    lines.push(...nested.map((line) => `  ${line}`));
    const bad = absent > 0 || tests.some((test) => isBad(test.status));
    const skipped = !bad && tests.length > 0 && tests.every((test) => test.status === 'skip');
    lines.push(
      `${bad ? 'not ok' : 'ok'} ${++number} ${description(suite)}${skipped ? ' # SKIP all of its tests were skipped' : ''}`,
    );
  }
  lines.push(...ktapEnd(results));
  return lines.join('\n') + '\n';
}

/** The first lines, with a plan of so many. */
export function ktapHead(
  { version, kernel, machine }: Pick<RunResults['run'], 'version' | 'kernel' | 'machine'>,
  planned: number,
): string[] {
  const what = `vfio-conformance ${version}, Linux ${kernel}, ${machine}`;
  return ['KTAP version 1', `1..${planned}`, ...diagnostics([what])];
}

/** The last lines: why the run ended early, if it did, and the totals. */
export function ktapEnd(results: RunResults): string[] {
  const s = results.summary;
  const end = earlyEnd(results);
  return [
    ...diagnostics(end ? [end] : []),
    `# Totals: pass:${s.pass} fail:${s.fail + s.timeout + s.crash} xfail:${s.xfail} xpass:${s.xpass} skip:${s.skip} error:${s.error}`,
  ];
}

/** All that is known of a test, then its result. */
export function ktapCase(test: TestResult, number: number): string[] {
  const point = `${isBad(test.status) ? 'not ok' : 'ok'} ${number} ${description(test.id)}`;
  const reason = oneLine(reasonOf(test)).replaceAll('#', '');
  const directive = {
    pass: '',
    fail: '',
    xpass: '',
    skip: ` # SKIP ${reason}`,
    xfail: ` # XFAIL ${reason}`,
    timeout: ` # TIMEOUT ${reason}`,
    error: ` # ERROR ${reason}`,
    crash: ` # ERROR crash: ${reason}`,
  }[test.status];
  return [...diagnostics(explain(test)), point + directive];
}

function diagnostics(lines: string[]): string[] {
  return lines.flatMap((line) => printable(line).split('\n')).map((line) => `# ${line}`.trimEnd());
}

/** Any words, but no `#`. */
function description(text: string): string {
  return oneLine(text).replaceAll('#', '') || 'unnamed';
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
