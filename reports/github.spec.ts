import { describe, expect, it } from 'vitest';
import { githubAnnotations, githubSummary } from './github.ts';
import type { JournalEvent } from './journal.ts';
import { reduceJournal } from './reduce.ts';
import { asLines, sampleBegin, sampleRun, sampleTest } from './samples.ts';

const results = reduceJournal(sampleRun());

/** A run in which so many tests fail. */
function failing(count: number) {
  const tests = Array.from({ length: count }, (_, i) => sampleTest(`s.t${i}`));
  const ends = tests.map(({ id, file }): JournalEvent => ({
    type: 'test-end',
    id,
    status: 'fail',
    durationMs: 1,
    skip: [],
    failure: {
      kind: 'assertion',
      message: 'expected EBUSY, observed EINVAL',
      stack: `AssertionError: x\n    at check (harness/testing/expect.ts:9:1)\n    at ${file}:42:7`,
      calls: [],
      hints: [],
    },
    kernelLog: [],
  }));
  return reduceJournal(asLines([sampleBegin(tests), ...ends]));
}

describe('annotations', () => {
  it('point to the line that found the failure', () => {
    expect(githubAnnotations([failing(1)])[1]).toBe(
      '::error file=suites/s/sample.test.ts,line=42,title=s.t0 on Linux 7.3.4 (default)' +
        '::the promise of s.t0 is kept%0Aexpected EBUSY, observed EINVAL',
    );
  });

  it('are one line each, whatever the text is', () => {
    const lines = githubAnnotations([results]);
    expect(lines.length).toBeGreaterThan(3);
    for (const line of lines) expect(line).toMatch(/^::error \P{Cc}*$/u);
  });

  it('are no more than GitHub shows, and say so', () => {
    const lines = githubAnnotations([failing(30)]);
    expect(lines).toHaveLength(10);
    expect(lines[9]).toContain('22 more failures');
  });

  it('tell that a run came to no end', () => {
    expect(githubAnnotations([failing(0)])[0]).toMatch(/^::error .*::unfinished: /);
  });
});

describe('summary', () => {
  it('has a line a run and explains each failure', () => {
    const text = githubSummary([results, failing(2)]);
    expect(text).toContain('| 7.3.4&#43;'.replace('&#43;', '+'));
    expect(text).toContain('| 7.3.4 | default | 0 | 2 |');
    expect(text).toContain('<code>s.t0</code>');
    expect(text).toContain('    expected EBUSY, observed EINVAL');
  });

  it('lets no text out of its place', () => {
    const text = githubSummary([results]);
    for (const line of text.split('\n')) {
      if (/^ {4}|^<\/?details>/.test(line)) continue;
      expect(line).not.toMatch(/<script>|Bail out! \{/);
    }
  });

  it('stays below what GitHub takes', () => {
    expect(githubSummary([failing(5000)]).length).toBeLessThan(2 ** 20);
  });
});
