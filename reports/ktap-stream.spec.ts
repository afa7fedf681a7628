import { describe, expect, it } from 'vitest';
import { KtapStream } from './ktap-stream.ts';
import { Reducer, reduceJournal } from './reduce.ts';
import { sampleRun } from './samples.ts';
import type { JournalLine } from './journal.ts';

const results = reduceJournal(sampleRun());

/** What is printed of a journal, and after its end if it has one. */
function printed(lines: readonly JournalLine[], end = false): string[] {
  let text = '';
  const stream = new KtapStream((more) => (text += more));
  const reducer = new Reducer();
  for (const line of lines) stream.show(line, reducer.apply(line));
  if (end) stream.end(results);
  return text.trimEnd().split('\n');
}

const points = (lines: string[]) => lines.filter((line) => /^(not )?ok /.test(line));
const idOf = (point: string) => /^(?:not )?ok \d+ (\S+)/.exec(point)?.[1];

describe('KTAP of a run as it goes', () => {
  const lines = printed(sampleRun(), true);

  it('begins with a plan of all tests and ends with the totals', () => {
    expect(lines.slice(0, 2)).toEqual(['KTAP version 1', `1..${results.tests.length}`]);
    expect(lines.at(-1)).toMatch(/^# Totals: pass:\d+ fail:\d+ /);
  });

  it('has each test once, numbered in the order of their ends', () => {
    const numbers = points(lines).map((line) => Number(/ok (\d+)/.exec(line)?.[1]));
    expect(numbers).toEqual(results.tests.map((_, index) => index + 1));
    expect(points(lines).map(idOf).sort()).toEqual(results.tests.map(({ id }) => id).sort());
  });

  it('has printed what has ended when the machine goes down', () => {
    const ended = sampleRun().findIndex(({ type }) => type === 'test-end') + 1;
    expect(points(printed(sampleRun().slice(0, ended)))).toHaveLength(1);
  });
});
