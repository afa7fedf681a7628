import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { DOMImplementation, DOMParser, XMLSerializer, type Element } from '@xmldom/xmldom';
import { SetupError } from '../harness/target/errors.ts';
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
  } catch {
    throw new SetupError('the npm package tap-junit is not installed', 'run `npm run setup`');
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
function completeJunit(xml: string, results: RunResults): string {
  const { run } = results;
  const cases = casesById(xml);
  const document = new DOMImplementation().createDocument(null, 'testsuites');
  const root = document.documentElement as Element;
  const total = { tests: 0, failures: 0, errors: 0 };

  const addSuite = (name: string, counts: SuiteCounts, started: string): Element => {
    total.tests += counts.tests;
    total.failures += counts.failures;
    total.errors += counts.errors;
    const suite = addElement(root, 'testsuite', {
      name,
      tests: String(counts.tests),
      failures: String(counts.failures),
      errors: String(counts.errors),
      skipped: String(counts.skipped),
      time: seconds(counts.durationMs),
      timestamp: started.replace(/\.\d+Z$/, ''),
      hostname: run.machine,
    });
    addProperties(suite, results);
    return suite;
  };

  for (const [file, entries] of byFile(results.tests)) {
    const tests = entries.map((entry) => entry.test);
    const started = tests.find((test) => test.started)?.started ?? run.started;
    const suite = addSuite(file, countSuite(tests), started);
    for (const { test, number } of entries) {
      const element = cases.get(number);
      if (!element) throw new Error(`tap-junit lost the test ${test.id} (number ${number})`);
      const imported = document.importNode(element, true);
      suite.appendChild(imported);
      completeCase(imported, test);
    }
  }

  const end = earlyEnd(results);
  if (end) {
    const counts = {
      tests: run.notRun.length + 1,
      failures: 0,
      errors: 1,
      skipped: run.notRun.length,
      durationMs: run.durationMs,
    };
    const suite = addSuite('run', counts, run.started);
    const attributes = { classname: 'run', time: '0.000' };
    const whole = addElement(suite, 'testcase', { name: 'the run reaches its end', ...attributes });
    addElement(whole, 'error', { message: oneLine(end), type: run.outcome }, end);
    for (const id of run.notRun) {
      const missing = addElement(suite, 'testcase', { name: id, ...attributes });
      addElement(missing, 'skipped', { message: oneLine(`not run: ${run.reason}`) });
    }
  }
  setAttributes(root, {
    name: 'vfio-conformance',
    tests: String(total.tests),
    failures: String(total.failures),
    errors: String(total.errors),
    time: seconds(run.durationMs),
  });
  indent(root, 0);
  const body = new XMLSerializer().serializeToString(document, { requireWellFormed: true });
  return `<?xml version="1.0" encoding="UTF-8"?>\n${body}\n`;
}

function byFile(tests: TestResult[]): Map<string, { test: TestResult; number: number }[]> {
  const files = new Map<string, { test: TestResult; number: number }[]>();
  tests.forEach((test, index) => {
    const entry = { test, number: index + 1 };
    const list = files.get(test.file);
    if (list) list.push(entry);
    else files.set(test.file, [entry]);
  });
  return files;
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
function casesById(xml: string): Map<number, Element> {
  const document = new DOMParser().parseFromString(xml, 'text/xml');
  const cases = new Map<number, Element>();
  for (const element of document.getElementsByTagName('testcase')) {
    cases.set(Number(element.getAttribute('id')), element);
    element.removeAttribute('id');
  }
  return cases;
}

function completeCase(element: Element, test: TestResult): void {
  const stem = test.file.replace(/^suites\//, '').replace(/\.[^/]*$/, '');
  setAttributes(element, { classname: stem.replaceAll('/', '.'), time: seconds(test.durationMs) });
  // tap-junit's own failure and skipped elements carry no more than a line: they give way.
  while (element.firstChild) element.removeChild(element.firstChild);

  const name = elementOf(test);
  const reason = oneLine(reasonOf(test));
  if (name === 'skipped') {
    const message = test.status === 'xfail' ? `expected failure: ${reason}` : reason;
    addElement(element, name, { message });
  } else if (name) {
    const type = test.status === 'fail' ? (test.failure?.kind ?? 'assertion') : test.status;
    addElement(element, name, { message: reason, type }, explain(test).join('\n'));
  }
  addElement(element, 'system-out', {}, describe(test).join('\n'));
  if (test.kernelLog.length > 0) addElement(element, 'system-err', {}, test.kernelLog.join('\n'));
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

function addProperties(suite: Element, results: RunResults): void {
  const { run } = results;
  const properties = addElement(suite, 'properties');
  const values: Record<string, unknown> = {
    kernel: run.kernel,
    machine: run.machine,
    command: run.command.join(' '),
    version: run.version,
    ...run.environment,
  };
  for (const [name, value] of Object.entries(values)) {
    const shown = Array.isArray(value) ? value.join(', ') : String(value);
    addElement(properties, 'property', { name: oneLine(name), value: oneLine(shown) });
  }
}

function addElement(
  parent: Element,
  name: string,
  attributes: Record<string, string> = {},
  content?: string,
): Element {
  const document = parent.ownerDocument;
  if (!document) throw new Error(`<${parent.nodeName}> belongs to no document`);
  const element = document.createElement(name);
  setAttributes(element, attributes);
  if (content !== undefined) element.appendChild(document.createTextNode(printable(content)));
  parent.appendChild(element);
  return element;
}

function setAttributes(element: Element, attributes: Record<string, string>): void {
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, printable(value));
  }
}

/** Line breaks between elements, for people; elements that hold text stay as they are. */
function indent(element: Element, depth: number): void {
  const children = [...element.childNodes].filter((node): node is Element => node.nodeType === 1);
  if (children.length === 0) return;
  const document = element.ownerDocument;
  const pad = (levels: number) => document?.createTextNode('\n' + '  '.repeat(levels)) ?? null;
  for (const child of children) {
    element.insertBefore(pad(depth + 1) as never, child);
    indent(child, depth + 1);
  }
  element.appendChild(pad(depth) as never);
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}
