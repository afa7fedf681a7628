import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  Journal,
  JOURNAL_FILE,
  mendJournal,
  readJournal,
  type JournalEvent,
} from '../../reports/journal.ts';
import type { RunResults } from '../../reports/results.ts';
import { sampleBegin, sampleTest } from '../../reports/samples.ts';
import { BOOT_ID } from '../target/target.ts';
import { resume, run, type RunOptions } from './run.ts';
import { ScriptedTarget, type Script } from './scripted-target.ts';

const IDS = ['s.a', 's.b', 's.c', 's.d'];
const BEGIN = sampleBegin(IDS.map((id) => sampleTest(id)));

const all: Script = (stage) => {
  stage.hello();
  stage.finish();
};
const statuses = (results: RunResults): string[] =>
  results.tests.map(({ id, status }) => `${id} ${status}`);

let directory: string;
let journal: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'run-'));
  journal = join(directory, JOURNAL_FILE);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

function options(target: ScriptedTarget): RunOptions {
  return {
    targets: [target],
    directory,
    maxDeaths: 10,
    bail: 0,
    signal: new AbortController().signal,
    show: () => undefined,
  };
}

/** A journal that breaks off. */
function write(events: JournalEvent[], torn = ''): void {
  const file = new Journal(journal);
  for (const event of events) file.append(event);
  file.close();
  appendFileSync(journal, torn);
}

async function goOn(boot?: string): Promise<{ results: RunResults; target: ScriptedTarget }> {
  const target = new ScriptedTarget(all);
  if (boot !== undefined) target.describe = () => ({ [BOOT_ID]: boot });
  mendJournal(journal);
  const results = await resume(readJournal(journal), ['vfio-conformance'], options(target));
  return { results, target };
}

const start: JournalEvent = { type: 'session-start', session: 0, tests: 4 };
const begin = (id: string): JournalEvent => ({ type: 'test-begin', id, nonce: 'n' });
const pass = (id: string): JournalEvent => ({
  type: 'test-end',
  id,
  status: 'pass',
  durationMs: 77,
  skip: [],
  kernelLog: [],
});

describe('a run', () => {
  it('ends as one without room if not even its beginning can be written', async () => {
    vi.spyOn(Journal.prototype, 'append').mockImplementationOnce(() => {
      throw new Error('ENOSPC');
    });
    const target = new ScriptedTarget(all);
    await expect(run(BEGIN, options(target))).rejects.toThrow(/nothing more can be written/);
  });

  it('gives a shard its tests and no others', async () => {
    const target = new ScriptedTarget(all);
    const shard = { index: 2, count: 2, ids: ['s.b', 's.d'] };
    const results = await run({ ...BEGIN, shard }, options(target));
    expect(target.assigned).toEqual([shard.ids]);
    expect(statuses(results)).toEqual(['s.b pass', 's.d pass']);
    expect(results.run).toMatchObject({ shard: '2/2', notRun: [], outcome: 'finished' });
  });
});

describe('a resumed run', () => {
  it('neither loses nor repeats a test that has a result, whatever the last line is', async () => {
    write([BEGIN, start, begin('s.a'), pass('s.a'), begin('s.b')], '{"at":"20');
    const { results, target } = await goOn();
    expect(target.assigned).toEqual([['s.b', 's.c', 's.d']]);
    expect(statuses(results)).toEqual(IDS.map((id) => `${id} pass`));
    expect(results.tests[0]?.durationMs).toBe(77);
    expect(results.run).toMatchObject({ outcome: 'finished', exitCode: 0, notRun: [] });
  });

  it('keeps a last line that lacks only its newline', async () => {
    const line = JSON.stringify({ at: new Date().toISOString(), ...pass('s.a') });
    write([BEGIN, start, begin('s.a')], line);
    expect((await goOn()).target.assigned).toEqual([['s.b', 's.c', 's.d']]);
  });

  it('goes on after an end that was written, as often as need be', async () => {
    write([
      BEGIN,
      start,
      begin('s.a'),
      pass('s.a'),
      { type: 'session-end', session: 0, kind: 'killed', detail: '', tail: [], during: null },
      { type: 'run-end', outcome: 'interrupted', reason: 'SIGINT' },
      { type: 'run-resume', command: [], target: {} },
      start,
      begin('s.b'),
      pass('s.b'),
    ]);
    const { results, target } = await goOn();
    expect(target.assigned).toEqual([['s.c', 's.d']]);
    expect(results.run.outcome).toBe('finished');
  });

  it('blames the test in which this machine went down, and goes on behind it', async () => {
    const here = { ...BEGIN, target: { [BOOT_ID]: 'first' } };
    write([here, start, begin('s.a'), pass('s.a'), begin('s.b')]);
    const { results, target } = await goOn('second');
    expect(target.assigned).toEqual([['s.c', 's.d']]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b crash', 's.c pass', 's.d pass']);
    expect(results.run.exitCode).toBe(5);
  });

  it('repeats the test in which only the supervisor was killed', async () => {
    const here = { ...BEGIN, target: { [BOOT_ID]: 'first' } };
    write([here, start, begin('s.a')]);
    expect((await goOn('first')).target.assigned).toEqual([IDS]);
  });

  it('refuses another kernel', () => {
    write([BEGIN, start]);
    const target = new ScriptedTarget(all);
    target.describe = () => ({ kernel: '6.1.0' });
    expect(() => resume(readJournal(journal), [], options(target))).toThrow(/begun on Linux 7/);
  });
});
