import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Journal, JOURNAL_FILE, type JournalEvent } from '../../../reports/journal.ts';
import { sampleBegin, sampleTest } from '../../../reports/samples.ts';
import type { Failure } from '../../protocol/test.ts';
import { commandLine } from '../command-line.ts';

const folder = mkdtempSync(join(tmpdir(), 'vfio-conformance-compare-'));

/** Writes a run in which one test took so long, and another failed or not. */
function run(name: string, durationMs: number, status: 'pass' | 'fail'): string {
  const directory = join(folder, name);
  mkdirSync(directory);
  const journal = new Journal(join(directory, JOURNAL_FILE));
  const failure: Failure = { kind: 'assertion', message: 'expected 1', calls: [], hints: [] };
  const end = (id: string, ms: number, status: 'pass' | 'fail'): JournalEvent => ({
    type: 'test-end',
    id,
    status,
    durationMs: ms,
    skip: [],
    ...(status === 'fail' && { failure }),
    kernelLog: [],
  });
  for (const event of [
    sampleBegin([sampleTest('device.slow'), sampleTest('device.reset')]),
    end('device.slow', durationMs, 'pass'),
    end('device.reset', 1, status),
    { type: 'run-end', outcome: 'finished', reason: '' } as const,
  ])
    journal.append(event);
  journal.close();
  return directory;
}

/** The exit code and the output of a comparison. */
async function compare(...args: string[]): Promise<{ code: unknown; output: string }> {
  let output = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => Boolean((output += String(text))));
  await commandLine(['compare', ...args]);
  return { code: process.exitCode ?? 0, output };
}

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

describe('compare', () => {
  let good: string, slow: string, bad: string;
  beforeAll(() => {
    good = run('good', 10, 'pass');
    slow = run('slow', 5000, 'pass');
    bad = run('bad', 10, 'fail');
  });

  it('ends with 1 if a test newly fails, and only then', async () => {
    expect((await compare(good, bad)).code).toBe(1);
    process.exitCode = undefined;
    expect((await compare(good, slow)).code).toBe(0);
    expect((await compare(bad, good)).code).toBe(0);
  });

  it('ends with 1 on what --fail-on names', async () => {
    expect((await compare(good, bad, '--fail-on', 'none')).code).toBe(0);
    expect((await compare(good, bad, '--fail-on', 'slower,newly-passes')).code).toBe(0);
    expect((await compare(good, slow, '--fail-on', 'slower', '--slower', '1000')).code).toBe(0);
    expect(
      (await compare(good, slow, '--fail-on', 'newly-fails', '--fail-on', 'slower')).code,
    ).toBe(1);
    process.exitCode = undefined;
    expect((await compare(bad, good, '--fail-on', 'any')).code).toBe(1);
  });

  it('says it as text and as JSON', async () => {
    expect((await compare(good, bad)).output).toContain('device.reset pass → fail  device.reset');
    const { output } = await compare(good, slow, '--json');
    expect(JSON.parse(output)).toMatchObject({
      schema: 1,
      common: 2,
      changes: [{ kind: 'slower', id: 'device.slow', detail: '10 ms → 5000 ms' }],
    });
  });
});
