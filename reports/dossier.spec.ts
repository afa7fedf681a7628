import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { readDossier, writeDossiers } from './dossier.ts';
import { reduceJournal } from './reduce.ts';
import type { RunResults } from './results.ts';
import { sampleRun } from './samples.ts';

let folder: string;
let results: RunResults;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-conformance-dossiers-'));
  results = reduceJournal(sampleRun());
});

const dossiers = (): string[] => readdirSync(join(folder, 'dossiers')).sort();

describe('dossiers', () => {
  it('exist for every failure, known ones included, and for nothing else', () => {
    writeDossiers(folder, results);
    const expected = results.tests
      .filter(({ status }) => ['fail', 'error', 'crash', 'timeout', 'xfail'].includes(status))
      .map(({ id }) => id);
    expect(dossiers()).toEqual(expected.sort());
  });

  it('hold all that is known, safe to print', () => {
    writeDossiers(folder, results);
    const test = results.tests.find(({ status }) => status === 'fail')!;
    const { facts, readme, calls, kernelLog, reproducer } = readDossier(
      join(folder, 'dossiers', test.id),
    );
    expect(facts).toMatchObject({
      schema: 1,
      id: test.id,
      promise: test.title,
      status: 'fail',
      kernel: '7.3.4+deb13-amd64',
      command: results.run.command,
    });
    for (const text of [test.title, test.rerun, 'expected: EEXIST', 'calls:', 'kernel log:'])
      expect(readme).toContain(text);
    expect(calls).toContain('VFIO_IOMMU_MAP_DMA');
    expect(kernelLog).not.toBe('');
    expect(reproducer).toBeNull();
    // eslint-disable-next-line no-control-regex
    expect(readme + calls + kernelLog).not.toMatch(/[\u0000\u001b\r]/);
  });

  it('hold the program, if there is one', () => {
    const test = results.tests.find(({ status }) => status === 'fail')!;
    test.failure!.reproducer = 'int main(void) { return 0; }\n';
    writeDossiers(folder, results);
    const { reproducer, readme } = readDossier(join(folder, 'dossiers', test.id));
    expect(readFileSync(reproducer!, 'utf8')).toBe(test.failure!.reproducer);
    expect(readme).toContain('vfio-conformance reproduce');
    test.failure!.reproducer = '/* 20000 calls are too many for a program. */\n';
    writeDossiers(folder, results);
    expect(readDossier(join(folder, 'dossiers', test.id)).reproducer).toBeNull();
  });

  it('are made again without leaving those of tests that no longer fail', () => {
    writeDossiers(folder, results);
    results.tests = results.tests.filter(({ status }) => status === 'fail' || status === 'pass');
    writeDossiers(folder, results);
    expect(dossiers()).toHaveLength(1);
    results.tests = results.tests.filter(({ status }) => status === 'pass');
    writeDossiers(folder, results);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('say so if a folder is none', () => {
    writeFileSync(join(folder, 'README.txt'), '');
    expect(() => readDossier(folder)).toThrow(/not a dossier/);
  });
});
