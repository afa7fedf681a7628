import { describe, expect, it } from 'vitest';
import type { JournalEvent } from './journal.ts';
import { Reducer, reduceJournal } from './reduce.ts';
import type { Expectation } from './results.ts';
import { asLines, sampleBegin, sampleRun, sampleTest } from './samples.ts';

const begin = (id: string): JournalEvent => ({ type: 'test-begin', id, nonce: '' });
const end = (id: string, status: 'pass' | 'fail' | 'error' | 'skip' = 'pass'): JournalEvent => ({
  type: 'test-end',
  id,
  status,
  durationMs: 1,
  skip: [],
  kernelLog: [],
});
const session = (n: number): JournalEvent => ({ type: 'session-start', session: n, tests: 1 });
const a = sampleTest('container.a');
const b = sampleTest('container.b');
const expected = (kind: Expectation['kind'], outcome: Expectation['outcome'] = 'fail') => ({
  [a.id]: { kind, outcome, reason: 'r', from: 'all-fails.txt:1' },
});
const statusWith = (
  expectation: Record<string, Expectation>,
  status: 'pass' | 'fail' | 'error' | 'skip',
): string | undefined =>
  reduceJournal(
    asLines([sampleBegin([a], expectation), session(0), begin(a.id), end(a.id, status)]),
  ).tests[0]?.status;

describe('reducer', () => {
  it('gives one result of each status, in the order of the plan', () => {
    const results = reduceJournal(sampleRun());
    expect(results.tests.map(({ status }) => status)).toEqual([
      'pass',
      'fail',
      'skip',
      'error',
      'crash',
      'timeout',
      'xfail',
      'xpass',
      'skip',
    ]);
    expect(results.summary).toEqual({
      pass: 1,
      fail: 1,
      skip: 2,
      error: 1,
      crash: 1,
      timeout: 1,
      xfail: 1,
      xpass: 1,
    });
    expect(results.run).toMatchObject({
      outcome: 'finished',
      kernel: '7.3.4+deb13-amd64',
      notRun: [],
      exitCode: 5,
      environment: { QEMU: '10.0', list: ['a', 'b'] },
    });
    expect(results.run.sessions).toMatchObject([
      { end: 'guest-panic', during: 'container.crash@igb', bootMs: 1000 },
      { end: 'killed', during: 'device.timeout@igb' },
    ]);
    expect(results.tests[4]).toMatchObject({ session: 0, failure: { kind: 'death' } });
    expect(results.tests[0]?.rerun).toBe('npx vfio-conformance run container.pass@igb');
  });

  it('tells a run that was cut off from a finished one', () => {
    const results = reduceJournal(
      asLines([sampleBegin([a, b]), session(0), begin(a.id), end(a.id), begin(b.id)]),
    );
    expect(results.run).toMatchObject({ outcome: 'unfinished', notRun: [b.id], finished: null });
    expect(results.run.exitCode).toBe(5);
    expect(results.summary.pass).toBe(1);
  });

  it('reports each result once, as it comes', () => {
    const reducer = new Reducer();
    const lines = asLines([sampleBegin([a]), session(0), begin(a.id), end(a.id)]);
    expect(lines.map((line) => reducer.apply(line)?.id)).toEqual([
      undefined,
      undefined,
      undefined,
      a.id,
    ]);
  });

  it('does not count what a worker says after it was found hanging', () => {
    const failure = { kind: 'death' as const, message: 'hung', calls: [], hints: [] };
    const results = reduceJournal(
      asLines([
        sampleBegin([a, b]),
        session(0),
        begin(a.id),
        { type: 'hang', id: a.id, limitMs: 1 },
        end(a.id),
        begin(b.id),
        end(b.id, 'fail'),
        { type: 'session-end', session: 0, kind: 'killed', detail: '', tail: [], during: a.id },
        { type: 'verdict', id: a.id, status: 'timeout', durationMs: 9, failure, kernelLog: [] },
        session(1),
        begin(b.id),
        end(b.id),
      ]),
    );
    expect(results.tests.map(({ status }) => status)).toEqual(['timeout', 'pass']);
  });

  it('ignores results of tests that were not planned', () => {
    const results = reduceJournal(asLines([sampleBegin([a]), session(0), end('other.x')]));
    expect(results.tests).toEqual([]);
  });

  it('turns known failures into xfail and their passes into xpass', () => {
    expect(statusWith(expected('fail'), 'fail')).toBe('xfail');
    expect(statusWith(expected('fail'), 'pass')).toBe('xpass');
    expect(statusWith(expected('fail'), 'error')).toBe('error');
    expect(statusWith(expected('fail'), 'skip')).toBe('skip');
    expect(statusWith(expected('flake'), 'fail')).toBe('xfail');
    expect(statusWith(expected('flake'), 'pass')).toBe('pass');
  });

  it('lets an expectation of one end excuse no other', () => {
    expect(statusWith(expected('fail', 'crash'), 'fail')).toBe('fail');
  });

  it('skips what is expected to be skipped, with the reason', () => {
    const results = reduceJournal(asLines([sampleBegin([a], expected('skip'))]));
    expect(results.tests[0]).toMatchObject({
      status: 'skip',
      skip: ['known: r (all-fails.txt:1)'],
      started: null,
      session: null,
    });
  });

  it('refuses a journal without a beginning', () => {
    expect(() => reduceJournal([])).toThrow(/no run/);
  });

  it('keeps sessions that run side by side apart', () => {
    const in1 = (event: JournalEvent) => ({ ...event, lane: 1 });
    const results = reduceJournal(
      asLines([
        sampleBegin([a, b], {}),
        session(0),
        in1(session(0)),
        begin(a.id),
        in1(begin(b.id)),
        { type: 'hang', id: a.id, limitMs: 1 },
        in1(end(b.id)),
      ]),
    );
    expect(results.tests.map(({ id, status, session: of }) => [id, status, of])).toEqual([
      [b.id, 'pass', 1],
    ]);
  });
});
