import { describe, expect, it } from 'vitest';
import type { Status } from '../harness/protocol/test.ts';
import { exitCode } from './exit-code.ts';
import { reduceJournal } from './reduce.ts';
import type { Outcome, RunResults, SessionRecord } from './results.ts';
import { sampleRun } from './samples.ts';

const base = reduceJournal(sampleRun());

function codeOf(
  statuses: Status[],
  outcome: Outcome = 'finished',
  sessions: Partial<SessionRecord>[] = [],
): number {
  const template = base.tests[0];
  if (!template) throw new Error('no sample');
  const results: RunResults = {
    ...base,
    run: { ...base.run, outcome, sessions: sessions as SessionRecord[] },
    tests: statuses.map((status) => ({ ...template, status })),
    summary: { pass: 0, fail: 0, skip: 0, error: 0, crash: 0, timeout: 0, xfail: 0, xpass: 0 },
  };
  for (const status of statuses) results.summary[status] += 1;
  return exitCode(results);
}

describe('exit code', () => {
  it.each<[number, string, Status[]]>([
    [0, 'all as expected', ['pass', 'skip', 'xfail']],
    [1, 'a failure', ['pass', 'fail']],
    [1, 'a timeout', ['timeout']],
    [1, 'an unexpected pass', ['xpass']],
    [1, 'a failure beside an error', ['error', 'fail']],
    [3, 'an error', ['pass', 'error']],
    [4, 'everything skipped', ['skip', 'skip']],
    [5, 'a crash beside failures', ['fail', 'crash', 'pass']],
    [0, 'nothing to do', []],
  ])('%i: %s', (code, _, statuses) => expect(codeOf(statuses)).toBe(code));

  it.each<[number, Outcome]>([
    [5, 'aborted'],
    [5, 'unfinished'],
    [3, 'broken'],
    [130, 'interrupted'],
  ])('%i: a run that is %s', (code, outcome) => expect(codeOf(['pass'], outcome)).toBe(code));

  it('5: the kernel died between two tests', () => {
    expect(codeOf(['pass'], 'finished', [{ end: 'guest-panic', during: null }])).toBe(5);
  });

  it('0: it died in a test that is known to kill it', () => {
    expect(codeOf(['xfail'], 'finished', [{ end: 'guest-panic', during: 'x' }])).toBe(0);
  });
});
