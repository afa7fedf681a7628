import { describe, expect, it } from 'vitest';
import { compareRuns, renderComparison } from './compare.ts';
import { historyOf, renderHistory } from './history.ts';
import { reduceJournal } from './reduce.ts';
import type { RunResults, TestResult } from './results.ts';
import { asLines, sampleBegin, sampleRun, sampleTest } from './samples.ts';

type Ending = Partial<Omit<TestResult, 'failure'>> & { message?: string };

/** A run in which tests ended like this. */
function run(endings: Record<string, TestResult['status'] | Ending>): RunResults {
  const results = reduceJournal(asLines([sampleBegin([])]));
  const [template] = reduceJournal(sampleRun()).tests as [TestResult];
  results.tests = Object.entries(endings).map(([id, ending]) => {
    const { message, ...given } = typeof ending === 'string' ? { status: ending } : ending;
    const status = given.status ?? 'pass';
    const bad = !['pass', 'skip'].includes(status);
    return {
      ...template,
      ...sampleTest(id),
      since: null,
      until: null,
      durationMs: 10,
      kernelLog: [],
      failure: bad
        ? { kind: 'assertion', message: message ?? 'expected 1', calls: [], hints: [] }
        : null,
      ...given,
      status,
    };
  });
  return results;
}

const kinds = (a: RunResults, b: RunResults) =>
  compareRuns(a, b).changes.map(({ kind, id }) => `${kind} ${id}`);

describe('comparing two runs', () => {
  it('tells each kind of change, the gravest first', () => {
    const a = run({
      breaks: 'pass',
      differs: 'fail',
      mended: 'crash',
      skipped: 'pass',
      gone: 'pass',
      talks: { kernelLog: ['[1.0] vfio-pci 0000:00:02.0: resetting'] },
      slow: { durationMs: 400 },
      same: 'pass',
    });
    const b = run({
      slow: { durationMs: 1300 },
      talks: { kernelLog: ['[7.0] vfio-pci 0000:00:03.0: resetting', 'vfio-pci: news'] },
      added: 'pass',
      'added-broken': 'timeout',
      skipped: { status: 'skip', skip: ['no device'] },
      mended: 'pass',
      differs: { status: 'fail', message: 'expected nothing' },
      breaks: 'fail',
      same: 'pass',
    });
    expect(kinds(a, b)).toEqual([
      'newly-fails breaks',
      'newly-fails added-broken',
      'fails-otherwise differs',
      'newly-passes mended',
      'became-skip skipped',
      'disappeared gone',
      'appeared added',
      'messages talks',
      'slower slow',
    ]);
    const text = renderComparison(compareRuns(a, b));
    expect(text).toContain('  skipped pass → skip  no device');
    expect(text).toContain('  talks  1 new: vfio-pci: news');
    expect(text).toContain('9 differences in 7 common tests');
    const { changes } = compareRuns(a, b);
    expect(changes.find(({ id }) => id === 'talks')?.messages).toEqual({
      new: ['vfio-pci: news'],
      gone: [],
    });
  });

  it('finds no difference between a run and itself, nor in what is only noise', () => {
    const a = run({ a: { durationMs: 1, kernelLog: ['[1.0] at 0x1000'] }, b: 'fail', c: 'skip' });
    expect(kinds(a, a)).toEqual([]);
    const b = run({ a: { durationMs: 90, kernelLog: ['[2.0] at 0x2000'] }, b: 'xfail', c: 'skip' });
    expect(kinds(a, b)).toEqual([]);
    expect(renderComparison(compareRuns(a, b))).toContain('no difference in 3 common tests');
  });

  it('compares what the kernel says, and the time, also of tests that fail in both', () => {
    const a = run({ talks: { status: 'fail' }, slow: { status: 'xfail', durationMs: 10 } });
    const b = run({
      talks: { status: 'fail', kernelLog: ['news'] },
      slow: { status: 'fail', durationMs: 1000 },
    });
    expect(kinds(a, b)).toEqual(['messages talks', 'slower slow']);
  });

  it('takes a skip that passes now for a pass, and one that fails for a failure', () => {
    const a = run({ a: { status: 'skip', skip: ['x'] }, b: 'skip' });
    expect(kinds(a, run({ a: 'pass', b: 'fail' }))).toEqual(['newly-fails b', 'newly-passes a']);
  });
});

describe('history', () => {
  const runs = [
    run({ steady: 'pass', flaky: 'pass', late: 'skip' }),
    run({ steady: 'pass', flaky: 'fail', late: 'skip', fresh: 'pass' }),
    run({ steady: 'pass', flaky: 'xfail', late: 'skip', fresh: 'crash' }),
  ].map((results, index) => ({ directory: `results/${index}`, results }));
  runs[2]!.results.run.kernel = '6.1.0';

  it('shows test × run and names flakes with their rate, on one kernel', () => {
    const table = historyOf(runs);
    const flaky = table.tests.find(({ id }) => id === 'flaky');
    expect(flaky).toEqual({
      id: 'flaky',
      statuses: ['pass', 'fail', 'xfail'],
      flakes: [{ on: '7.3.4 (default)', failed: 1, of: 2 }],
    });
    // Different kernels may answer differently: that is no flake.
    expect(table.tests.find(({ id }) => id === 'fresh')?.flakes).toEqual([]);
    const text = renderHistory(table, false);
    expect(text).toMatch(/^flaky +\.Fx {2}flake: 1 of 2 on 7\.3\.4 \(default\)$/m);
    expect(text).toMatch(/^fresh +\.C$/m);
    expect(text).not.toMatch(/^steady/m);
    expect(text).toContain(
      '4 tests in 3 runs, 2 the same in all that have them, 1 not in every run, 1 flake',
    );
    expect(renderHistory(table, true)).toMatch(/^steady +\.\.\.$/m);
  });
});
