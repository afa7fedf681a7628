import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { create } from 'xmlbuilder2';
import type { XMLBuilder } from 'xmlbuilder2/lib/interfaces.js';
import { SetupError } from '../harness/protocol/errors.ts';
import { earlyEnd, explain, reasonOf } from './explain.ts';
import type { RunResults, TestResult } from './results.ts';
import { oneLine, printable } from './text.ts';

/**
 * TAP → `tap-junit` → JUnit XML, completed. tap-junit gives each case its element and says whether it
 * failed or was skipped; it knows no times, no class names, no reasons, no kinds of failure, and
 * counts an expected failure as a failure. All that is put in here, from the results.
 */
export async function renderJunit(results: RunResults, tap: string): Promise<string> {
  return completeJunit(await tapToJunit(tap), results);
}

/** Pipes TAP through the program `tap-junit`; its output is printed back. */
export async function tapToJunit(tap: string): Promise<string> {
  const require = createRequire(import.meta.url);
  let program: string;
  try {
    program = join(dirname(require.resolve('tap-junit/package.json')), 'bin/tap-junit');
  } catch (cause) {
    throw new SetupError('the npm package tap-junit is not installed', 'run `npm ci`', { cause });
  }
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  // Its early death closes the pipe under the write; the exit code below tells that better.
  child.stdin.on('error', () => undefined);
  child.stdin.end(tap);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  const xml = Buffer.concat(out).toString('utf8').trim();
  if (code !== 0 || !xml.startsWith('<?xml')) {
    throw new Error(`tap-junit ended with ${code}: ${Buffer.concat(err).toString('utf8')}`);
  }
  return xml;
}

/** Completes what tap-junit wrote: one `testsuite` a suite file, as Jenkins and GitLab want it. */
export function completeJunit(xml: string, results: RunResults): string {
  const { run } = results;
  const cases = casesById(xml);
  const root = create({ version: '1.0', encoding: 'UTF-8' }).ele('testsuites');
  const total = { tests: 0, failures: 0, errors: 0 };

  const files = new Map<string, { test: TestResult; number: number }[]>();
  results.tests.forEach((test, index) => {
    const entry = { test, number: index + 1 };
    const list = files.get(test.file);
    if (list) list.push(entry);
    else files.set(test.file, [entry]);
  });
  const addSuite = (name: string, counts: SuiteCounts, started: string): XMLBuilder => {
    total.tests += counts.tests;
    total.failures += counts.failures;
    total.errors += counts.errors;
    return root.ele('testsuite', {
      name: attribute(name),
      tests: counts.tests,
      failures: counts.failures,
      errors: counts.errors,
      skipped: counts.skipped,
      time: seconds(counts.durationMs),
      timestamp: started.replace(/\.\d+Z$/, ''),
      hostname: attribute(run.machine) || 'unknown',
    });
  };

  for (const [file, entries] of files) {
    const tests = entries.map((entry) => entry.test);
    const started = tests.find((test) => test.started)?.started ?? run.started;
    const suite = addSuite(file, countSuite(tests), started);
    addProperties(suite, results);
    for (const { test, number } of entries) {
      const element = cases.get(number);
      if (!element) throw new Error(`tap-junit lost the test ${test.id} (number ${number})`);
      suite.import(element);
      completeCase(suite.last(), test);
    }
  }

  const end = earlyEnd(results);
  if (end) {
    const suite = addSuite(
      'run',
      {
        tests: run.notRun.length + 1,
        failures: 0,
        errors: 1,
        skipped: run.notRun.length,
        durationMs: run.durationMs,
      },
      run.started,
    );
    addProperties(suite, results);
    suite
      .ele('testcase', { name: 'the run reaches its end', classname: 'run', time: '0.000' })
      .ele('error', { message: attribute(end), type: run.outcome })
      .txt(text(end));
    for (const id of run.notRun) {
      suite
        .ele('testcase', { name: attribute(id), classname: 'run', time: '0.000' })
        .ele('skipped', { message: attribute(`not run: ${run.reason}`) });
    }
  }
  root.att({
    name: 'vfio-conformance',
    tests: String(total.tests),
    failures: String(total.failures),
    errors: String(total.errors),
    time: seconds(run.durationMs),
  });
  return root.end({ prettyPrint: true }) + '\n';
}

interface SuiteCounts {
  tests: number;
  failures: number;
  errors: number;
  skipped: number;
  durationMs: number;
}

function countSuite(tests: TestResult[]): SuiteCounts {
  const elements = tests.map(elementOf);
  const number = (name: string): number => elements.filter((element) => element === name).length;
  return {
    tests: tests.length,
    failures: number('failure'),
    errors: number('error'),
    skipped: number('skipped'),
    durationMs: tests.reduce((sum, test) => sum + test.durationMs, 0),
  };
}

/** A broken promise is a `failure`; what kept the promise from being tested is an `error`. */
function elementOf(test: TestResult): 'failure' | 'error' | 'skipped' | undefined {
  switch (test.status) {
    case 'pass':
      return undefined;
    case 'fail':
    case 'xpass':
      return 'failure';
    case 'skip':
    case 'xfail':
      return 'skipped';
    default:
      return 'error';
  }
}

/** tap-junit's `testcase` elements by their number; the number itself (`id`) is unknown to Jenkins. */
function casesById(xml: string): Map<number, XMLBuilder> {
  const cases = new Map<number, XMLBuilder>();
  create(xml)
    .root()
    .each(
      (node) => {
        if (node.node.nodeName !== 'testcase') return;
        const element = node.toObject() as { testcase: Record<string, string> };
        const id = Number(element.testcase['@id']);
        node.removeAtt('id');
        cases.set(id, node);
      },
      false,
      true,
    );
  return cases;
}

function completeCase(element: XMLBuilder, test: TestResult): void {
  const stem = test.file.replace(/^suites\//, '').replace(/\.[^/]*$/, '');
  element.att({ classname: attribute(stem.replaceAll('/', '.')), time: seconds(test.durationMs) });
  // tap-junit's own failure and skipped elements carry no more than a line: they give way.
  const children: XMLBuilder[] = [];
  element.each((child) => {
    children.push(child);
  });
  for (const child of children) child.remove();

  const name = elementOf(test);
  const message = attribute(
    test.status === 'xfail' ? `expected failure: ${reasonOf(test)}` : reasonOf(test),
  );
  if (name === 'skipped') element.ele('skipped', { message });
  else if (name) {
    const kind = test.status === 'fail' ? (test.failure?.kind ?? 'assertion') : test.status;
    element.ele(name, { message, type: kind }).txt(text(explain(test).join('\n')));
  }
  element.ele('system-out').txt(text(describe(test).join('\n')));
  if (test.kernelLog.length > 0) element.ele('system-err').txt(text(test.kernelLog.join('\n')));
}

function describe(test: TestResult): string[] {
  const lines = [test.title];
  const list = (label: string, items: string[]): void => {
    if (items.length > 0) lines.push(`${label}: ${items.join(', ')}`);
  };
  list('covers', test.covers);
  list('source', test.source);
  list('fixes', test.fixes);
  list('needs', test.needs);
  lines.push(`run it again: ${test.rerun}`);
  return lines;
}

function addProperties(suite: XMLBuilder, results: RunResults): void {
  const { run } = results;
  const properties = suite.ele('properties');
  const values: Record<string, unknown> = {
    kernel: run.kernel,
    machine: run.machine,
    command: run.command.join(' '),
    version: run.version,
    ...run.environment,
  };
  for (const [name, value] of Object.entries(values)) {
    const shown = Array.isArray(value) ? value.join(', ') : String(value);
    properties.ele('property', { name: attribute(name), value: attribute(shown) });
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** The serialiser writes newlines in attributes raw, where a parser would fold them. */
function attribute(value: string): string {
  return oneLine(value);
}

function text(value: string): string {
  return printable(value);
}
