import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { JOURNAL_FILE, readJournal } from '../../reports/journal.ts';
import { findRuns } from '../../reports/runs.ts';
import { readResults, resultsFolder, start } from './vfio-conformance.ts';

/** Some 30 quick tests. */
const SOME = [
  'container.api-version',
  'container.check-extension',
  'container.get-info',
  'group.status',
];

/** Which tests a run has, and how each ended. */
function statuses(folder: string): [string, string][] {
  return readResults(folder).tests.map(({ id, status }) => [id, status]);
}

describe('three shards', () => {
  it('run separately and merged equal the unsharded run, test by test', async () => {
    const whole = resultsFolder();
    const run = await start(['run', ...SOME, '--results', whole]).finished;
    expect(run.code, run.output).toBe(0);

    const parts = [1, 2, 3].map((index) => ({ index, folder: resultsFolder() }));
    for (const { index, folder } of parts) {
      const shard = ['--shard', `${index}/3`, '--balance', whole];
      const { code, output } = await start(['run', ...SOME, ...shard, '--results', folder])
        .finished;
      expect(code, output).toBe(0);
      expect(statuses(folder).length).toBeGreaterThan(0);
    }
    const merged = resultsFolder();
    const folders = parts.map(({ folder }) => folder);
    const merge = await start(['merge', ...folders, '--results', merged]).finished;
    expect(merge.code, merge.output).toBe(0);
    expect(statuses(merged)).toEqual(statuses(whole));
    expect(readResults(merged).summary).toEqual(readResults(whole).summary);
  });
});

describe('a run whose supervisor is killed', () => {
  it('goes on with --resume, without losing or repeating a finished test', async () => {
    const folder = resultsFolder();
    const running = start(['run', ...SOME, '--jobs', '1', '--results', folder]);
    await running.line(/\[ *2\/\d+\] pass/);
    running.child.kill('SIGKILL');
    await running.finished;
    const before = readJournal(join(folder, JOURNAL_FILE));

    const { code, output } = await start(['run', '--resume', folder]).finished;
    expect(code, output).toBe(0);
    const { run } = readResults(folder);
    expect(run).toMatchObject({ outcome: 'finished', notRun: [] });
    const journal = readJournal(join(folder, JOURNAL_FILE));
    expect(journal.slice(0, before.length)).toEqual(before);
    const ended = journal.flatMap((line) => (line.type === 'test-end' ? [line.id] : []));
    expect(ended).toEqual(readResults(folder).tests.map(({ id }) => id));
  });
});

describe('a matrix', () => {
  it('leaves a run of each kernel and machine, and one page of all', async () => {
    const folder = resultsFolder();
    const machines = ['--machine', 'default', '--machine', 'virtio-iommu'];
    const { code, output } = await start(['matrix', SOME[0]!, ...machines, '--results', folder])
      .finished;
    expect(code, output).toBe(0);
    expect(existsSync(join(folder, 'report.html'))).toBe(true);
    const runs = findRuns([folder]).map(({ results }) => results);
    expect(runs.map(({ run }) => run.machine).sort()).toEqual(['default', 'virtio-iommu']);
    for (const { run, tests } of runs) {
      expect(run.outcome).toBe('finished');
      expect(tests.length).toBeGreaterThan(0);
    }
  });
});
