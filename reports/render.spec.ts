import { readFileSync } from 'node:fs';
import { Parser } from 'tap-parser';
import { DOMParser, type Element } from '@xmldom/xmldom';
import { validateXML } from 'xmllint-wasm';
import { beforeAll, describe, expect, it } from 'vitest';
import { renderJunit, tapToJunit } from './junit.ts';
import { renderKernelLog } from './kernel-log.ts';
import { renderKtap } from './ktap.ts';
import { reduceJournal } from './reduce.ts';
import { asLines, HOSTILE, sampleBegin, sampleRun, sampleTest } from './samples.ts';
import { renderTap } from './tap.ts';

const results = reduceJournal(sampleRun());
const interrupted = reduceJournal([
  ...sampleRun().slice(0, 9),
  ...asLines([{ type: 'run-end', outcome: 'interrupted', reason: `SIGINT ${HOSTILE}` }]),
]);
const nothing = reduceJournal(
  asLines([sampleBegin([]), { type: 'run-end', outcome: 'finished', reason: '' }]),
);
const runs = { results, interrupted, nothing };

interface TapPoint {
  ok: boolean;
  name: string;
  skip: string | boolean;
  todo: string | boolean;
  diag: Record<string, unknown> | null;
}

function parseTap(tap: string): {
  points: TapPoint[];
  extra: string[];
  bailout: unknown;
  plan: unknown;
} {
  const parser = new Parser();
  const points: TapPoint[] = [];
  const extra: string[] = [];
  let bailout: unknown;
  let plan: unknown;
  parser.on('assert', (point: unknown) => points.push(point as TapPoint));
  parser.on('extra', (text: string) => extra.push(text));
  parser.on('bailout', (reason: unknown) => (bailout = reason));
  parser.on('plan', (value: unknown) => (plan = value));
  parser.end(tap);
  return { points, extra, bailout, plan };
}

describe('TAP', () => {
  it('is understood by a parser, one point a test, whatever the text', () => {
    const { points, extra, bailout } = parseTap(renderTap(results));
    expect(points.map(({ name }) => name)).toEqual(results.tests.map(({ id }) => id));
    expect(points.map(({ ok }) => ok)).toEqual([
      true,
      false,
      true,
      false,
      false,
      false,
      false,
      false,
      true,
    ]);
    expect(extra).toEqual([]);
    expect(bailout).toBeUndefined();
  });

  it('keeps reasons and multi-line values', () => {
    const { points } = parseTap(renderTap(results));
    expect(points[2]?.skip).toContain('no device a ]]> b');
    expect(points[2]?.skip).toContain('second reason');
    expect(points[6]?.todo).toContain('known a ]]>');
    expect(points[1]?.diag).toMatchObject({
      severity: 'fail',
      kind: 'assertion',
      at: 'suites/device/sample.test.ts',
    });
    const message = String(points[1]?.diag?.['message']);
    expect(message.split('\n')).toContain('ok 1 - forged');
    expect(message).toContain('\\x1b[31m # SKIP not');
    expect(points[1]?.diag?.['expected']).toMatch(/^EEXIST\na \]\]>/);
  });

  it('promises what was planned and bails out when it ends early', () => {
    const { plan, bailout, points } = parseTap(renderTap(interrupted));
    expect(points).toHaveLength(interrupted.tests.length);
    expect(plan).toMatchObject({ end: interrupted.tests.length + interrupted.run.notRun.length });
    expect(bailout).toContain('interrupted: SIGINT');
  });
});

describe('KTAP', () => {
  const lines = renderKtap(results).split('\n');

  it('nests the suites, plan first, every line of a known form', () => {
    expect(lines.slice(0, 2)).toEqual(['KTAP version 1', '1..2']);
    expect(lines.filter((line) => /^ {2}1\.\./.test(line))).toEqual(['  1..5', '  1..4']);
    const form = /^(?:KTAP version 1|1\.\.\d+|#.*|(?:not )?ok \d+ [^#]+(?: # [A-Z]+ [^#]*)?)$/;
    for (const line of lines.slice(0, -1)) expect(line.replace(/^ {2}/, '')).toMatch(form);
  });

  it('gives each test its point and directive', () => {
    const points = lines.filter((line) => /^ {2}(not )?ok/.test(line)).map((line) => line.trim());
    expect(points.map((line) => line.slice(0, 45))).toEqual([
      'ok 1 container.pass@igb',
      expect.stringMatching(/^ok 2 container.skip@igb # SKIP no device/),
      expect.stringMatching(/^not ok 3 container.crash@igb # ERROR crash/),
      expect.stringMatching(/^ok 4 container.xfail@igb # XFAIL known/),
      expect.stringMatching(/^ok 5 container.avoided@igb # SKIP known/),
      'not ok 1 device.fail@igb',
      expect.stringMatching(/^not ok 2 device.error@igb # ERROR a/),
      expect.stringMatching(/^not ok 3 device.timeout@igb # TIMEOUT a/),
      'not ok 4 device.xpass@igb',
    ]);
    expect(lines.filter((line) => /^(not )?ok/.test(line))).toEqual([
      'not ok 1 container',
      'not ok 2 device',
    ]);
  });

  it('counts in its plans what was not run, so that a parser misses it', () => {
    const text = renderKtap(interrupted);
    const planned = [...text.matchAll(/^ {2}1\.\.(\d+)$/gm)].reduce(
      (sum, m) => sum + Number(m[1]),
      0,
    );
    expect(planned).toBe(interrupted.tests.length + interrupted.run.notRun.length);
    expect(text).toContain('# interrupted: SIGINT');
  });

  it('marks a suite as skipped only if all of it was', () => {
    const test = sampleTest('irq.a');
    const skip = { kind: 'skip', outcome: 'fail', reason: 'r', from: 'f:1' } as const;
    const text = renderKtap(reduceJournal(asLines([sampleBegin([test], { 'irq.a': skip })])));
    expect(text).toContain('\nok 1 irq # SKIP');
  });
});

describe('JUnit', () => {
  const xsd = readFileSync(new URL('./junit.xsd', import.meta.url), 'utf8');
  const xml: Record<string, string> = {};
  beforeAll(async () => {
    for (const [name, run] of Object.entries(runs))
      xml[name] = await renderJunit(run, renderTap(run));
  });

  it.each(Object.keys(runs))('of %s is valid for Jenkins', async (name) => {
    const { valid, errors } = await validateXML({
      xml: [{ fileName: 'junit.xml', contents: xml[name] ?? '' }],
      schema: [xsd],
    });
    expect(errors.map(({ message }) => message)).toEqual([]);
    expect(valid).toBe(true);
  });

  it('has a schema that notices what tap-junit alone leaves wrong', async () => {
    const raw = await tapToJunit(renderTap(results));
    const { errors } = await validateXML({
      xml: [{ fileName: 'raw.xml', contents: raw }],
      schema: [xsd],
    });
    expect(errors.map(({ message }) => message).join()).toContain("attribute 'id'");
  });

  const suitesOf = (name: string): Element[] => [
    ...new DOMParser()
      .parseFromString(xml[name] ?? '', 'text/xml')
      .getElementsByTagName('testsuite'),
  ];
  const attributesOf = (element: Element | undefined): Record<string, string> =>
    Object.fromEntries([...(element?.attributes ?? [])].map(({ name, value }) => [name, value]));
  const caseOf = (id: string): Element | undefined =>
    suitesOf('results')
      .flatMap((suite) => [...suite.getElementsByTagName('testcase')])
      .find((element) => element.getAttribute('name') === id);
  const child = (id: string, name: string): Element | undefined =>
    [...(caseOf(id)?.getElementsByTagName(name) ?? [])][0];

  it('has a suite a file, with its own counts', () => {
    expect(suitesOf('results').map(attributesOf)).toMatchObject([
      {
        name: 'suites/container/sample.test.ts',
        tests: '5',
        failures: '0',
        errors: '1',
        skipped: '3',
      },
      {
        name: 'suites/device/sample.test.ts',
        tests: '4',
        failures: '2',
        errors: '2',
        skipped: '0',
      },
    ]);
    const [, head] = xml['results']?.split('\n') ?? [];
    expect(head).toContain('tests="9" failures="2" errors="3"');
    const properties = [...(suitesOf('results')[0]?.getElementsByTagName('property') ?? [])].map(
      attributesOf,
    );
    expect(properties).toContainEqual({ name: 'kernel', value: '7.3.4+deb13-amd64' });
    expect(properties).toContainEqual({ name: 'list', value: 'a, b' });
  });

  it('gives each case time, class, reason and text', () => {
    expect(attributesOf(caseOf('container.pass@igb'))).toEqual({
      name: 'container.pass@igb',
      time: '0.013',
      classname: 'container.sample',
    });
    expect(child('container.skip@igb', 'skipped')?.getAttribute('message')).toMatch(
      /^no device .*; second reason$/,
    );
    const failure = child('device.fail@igb', 'failure');
    expect(failure?.getAttribute('type')).toBe('assertion');
    const text = failure?.textContent ?? '';
    expect(text).toContain('a ]]> b <script>&amp;\\x00\\x1b[31m # SKIP not\nok 1 - forged\n');
    expect(text).toContain('expected: EEXIST');
    expect(text).toContain('VFIO_IOMMU_MAP_DMA) = 0');
    expect(text).toContain('run it again: npx vfio-conformance run device.fail@igb');
    expect(child('container.crash@igb', 'error')?.getAttribute('type')).toBe('crash');
    expect(child('device.timeout@igb', 'error')?.getAttribute('type')).toBe('timeout');
    expect(child('container.xfail@igb', 'skipped')?.getAttribute('message')).toMatch(
      /^expected failure: known/,
    );
    expect(child('device.xpass@igb', 'failure')?.getAttribute('message')).toMatch(
      /^passed, although/,
    );
    expect(child('device.fail@igb', 'system-err')?.textContent).toContain('[    1.000000]');
    expect(child('device.fail@igb', 'system-out')?.textContent).toContain('covers: VFIO_IOMMU_MAP');
  });

  it('shows an early end as an error, and what was not run as skipped', () => {
    const run = suitesOf('interrupted').at(-1);
    expect(attributesOf(run)).toMatchObject({ name: 'run', errors: '1' });
    expect([...(run?.getElementsByTagName('testcase') ?? [])]).toHaveLength(
      interrupted.run.notRun.length + 1,
    );
  });
});

describe('kernel.log', () => {
  it('names the test above its lines', () => {
    const text = renderKernelLog(results);
    expect(text).toContain('== device.fail@igb: fail\n[    1.000000] a ]]>');
    expect(text).not.toContain('container.pass');
    // eslint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\u0000\u001b]/);
  });
});
