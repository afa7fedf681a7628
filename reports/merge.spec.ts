import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { worstExitCode } from './exit-code.ts';
import { Journal, JOURNAL_FILE, readJournal, type JournalEvent, type RunBegin } from './journal.ts';
import { mergeRuns } from './merge.ts';
import { readResults } from './results-directory.ts';
import { sampleBegin, sampleTest } from './samples.ts';

const IDS = ['s.a', 's.b', 's.c', 's.d'];
const BEGIN = sampleBegin(IDS.map((id) => sampleTest(id)));

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'merge-'))));
afterEach(() => rmSync(folder, { recursive: true }));

/** A run that passes what it has planned, `s.b` apart, in a lane a test. */
function write(name: string, begin: RunBegin, kernel = '7.3.4', cutOff = false): string {
  const directory = join(folder, name);
  mkdirSync(directory);
  const journal = new Journal(join(directory, JOURNAL_FILE));
  const append = (event: JournalEvent, second: number, lane = 0) =>
    journal.append(event, new Date(Date.UTC(2026, 0, 1, 0, 0, second)), lane);
  append(begin, 0);
  const ids = begin.shard?.ids ?? begin.tests.map(({ id }) => id);
  for (const [lane, id] of ids.entries()) {
    append({ type: 'session-start', session: 0, tests: 1 }, 1, lane);
    append({ type: 'hello', protocol: 1, environment: { kernel } }, 2, lane);
    append({ type: 'test-begin', id, nonce: 'n' }, 3, lane);
    const end = { type: 'test-end' as const, id, durationMs: 5, skip: [], kernelLog: [] };
    append({ ...end, status: id === 's.b' ? 'error' : 'pass' }, 4, lane);
  }
  if (!cutOff) append({ type: 'run-end', outcome: 'finished', reason: '' }, 9);
  journal.close();
  writeFileSync(join(directory, 'console.log'), name);
  return directory;
}

const shard = (index: number, ids: string[]): RunBegin => ({
  ...BEGIN,
  shard: { index, count: 2, ids },
});

describe('merging', () => {
  it('makes of shards what the whole run would have been, test by test', async () => {
    const whole = write('whole', BEGIN);
    const second = write('second', shard(2, ['s.b', 's.d']));
    const first = write('first', shard(1, ['s.a', 's.c']));
    const out = join(folder, 'out');
    expect(await mergeRuns([second, first], out)).toEqual([out]);
    const essence = (directory: string) =>
      readResults(directory).tests.map(({ session: _, ...test }) => test);
    expect(essence(out)).toEqual(essence(whole));
    expect(readResults(out).summary).toEqual(readResults(whole).summary);
    expect(readResults(out).run).toMatchObject({
      outcome: 'finished',
      exitCode: 3,
      notRun: [],
      shard: null,
      durationMs: 9000,
    });
    expect(readFileSync(join(out, 'console.log'), 'utf8')).toBe('second');
    expect(readFileSync(join(out, 'console-2.log'), 'utf8')).toBe('first');
  });

  it('says which shard is missing', async () => {
    const out = join(folder, 'out');
    await mergeRuns([write('first', shard(1, ['s.a', 's.c']))], out);
    expect(readResults(out).run).toMatchObject({
      outcome: 'unfinished',
      reason: 'of the shards only 1/2 are here',
      notRun: ['s.b', 's.d'],
      exitCode: 5,
    });
  });

  it('says which part came to no end', async () => {
    const out = join(folder, 'out');
    const parts = [
      write('first', shard(1, ['s.a', 's.c'])),
      write('2nd', shard(2, ['s.b']), '7.3.4', true),
    ];
    await mergeRuns(parts, out);
    expect(readResults(out).run.reason).toContain('2nd unfinished: the supervisor ended');
  });

  it('keeps different kernels, and second results of the same tests, apart', async () => {
    const runs = [write('a', BEGIN), write('b', BEGIN), write('c', BEGIN, '6.1.0')];
    const out = join(folder, 'out');
    expect(await mergeRuns(runs, out)).toEqual(
      ['7.3.4-default', '7.3.4-default.2', '6.1.0-default'].map((name) => join(out, name)),
    );
    expect(readResults(join(out, '6.1.0-default')).run.kernel).toBe('6.1.0');
  });

  it('keeps real machines with other devices or another IOMMU apart', async () => {
    const on = (iommu: string, index: number, ids: string[]): RunBegin => ({
      ...shard(index, ids),
      target: { devices: '0000:03:00.0 8086:10c9', iommu },
    });
    const first = write('first', on('dmar', 1, ['s.a', 's.c']));
    const second = write('second', on('ivhd', 2, ['s.b', 's.d']));
    expect(await mergeRuns([first, second], join(folder, 'out'))).toHaveLength(2);
  });

  it('makes of the shards of a fuzzing campaign one campaign', async () => {
    const campaign = (name: string, from: number, kernel?: string) => {
      const slice = { id: 's.a', seed: 7, to: null, milliseconds: 1000, program: null };
      return write(name, { ...BEGIN, fuzz: [{ ...slice, number: from, from }] }, kernel);
    };
    const parts = [campaign('first', 0), campaign('second', 1000)];
    const out = join(folder, 'out');
    expect(await mergeRuns(parts, out)).toEqual([out]);
    const [begin] = readJournal(join(out, JOURNAL_FILE));
    expect(begin?.type === 'run-begin' && begin.fuzz?.map(({ from }) => from)).toEqual([0, 1000]);

    const again = [...parts, campaign('same programs', 1000), write('no campaign', BEGIN)];
    expect(await mergeRuns(again, join(folder, 'apart'))).toHaveLength(3);
  });

  it('refuses what is no run', async () => {
    await expect(mergeRuns([folder], join(folder, 'out'))).rejects.toThrow(/not a results/);
  });
});

it('ends as the gravest run does', () => {
  expect(worstExitCode([0, 4])).toBe(0);
  expect(worstExitCode([4, 4])).toBe(4);
  expect(worstExitCode([0, 1, 3])).toBe(3);
  expect(worstExitCode([5, 1])).toBe(5);
});
