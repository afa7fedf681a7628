import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { build, worker } from '../../setup/build.mjs';
import { projectFolder } from '../../setup/paths.mjs';
import type { RunResults } from '../../reports/results.ts';
import { readResults, resultOf, resultsFolder, start, type Finished } from './vfio-conformance.ts';

const WORKER = join(projectFolder, 'dist/e2e-worker.mjs');
const ORDER = [
  'before',
  'wrong-errno',
  'skip',
  'leak',
  'kernel-log',
  'broken-body',
  'panic',
  'after-crash',
  'hang',
  'after-hang',
].map((name) => `e2e.${name}`);

beforeAll(() => build([worker('tests/e2e/suites', 'dist/e2e-worker.mjs')]));

describe('a run in which everything goes wrong', () => {
  const folder = resultsFolder();
  let finished: Finished;
  let results: RunResults;

  beforeAll(async () => {
    finished = await start(['run', ...ORDER, '--results', folder], WORKER).finished;
    results = readResults(folder);
  });

  it('says with its exit code that the kernel died', () => {
    expect(finished.code, finished.output).toBe(5);
    expect(results.run.exitCode).toBe(5);
  });

  it('gives each test its own status and leaves its neighbours alone', () => {
    expect(Object.fromEntries(results.tests.map(({ id, status }) => [id, status]))).toEqual({
      'e2e.before': 'pass',
      'e2e.wrong-errno': 'fail',
      'e2e.skip': 'skip',
      'e2e.leak': 'fail',
      'e2e.kernel-log': 'fail',
      'e2e.broken-body': 'error',
      'e2e.panic': 'crash',
      'e2e.after-crash': 'pass',
      'e2e.hang': 'timeout',
      'e2e.after-hang': 'pass',
    });
  });

  it('explains a broken expectation: both values, the calls, the fix, the command', () => {
    const test = resultOf(results, 'e2e.wrong-errno');
    expect(test.failure).toMatchObject({
      kind: 'assertion',
      expected: 'EBUSY',
      observed: 'EINVAL',
    });
    expect(test.failure?.calls.join('\n')).toMatch(
      /ioctl\(\d+<\/dev\/vfio\/vfio>, VFIO_SET_IOMMU, .*= -1 EINVAL/,
    );
    expect(test.failure?.hints.join('\n')).toContain('0123456789ab');
    expect(test.rerun).toContain('e2e.wrong-errno');
    expect(finished.output).toContain('expected EBUSY, observed EINVAL');
  });

  it('names every missing requirement of a skip', () => {
    expect(resultOf(results, 'e2e.skip').skip).toHaveLength(2);
  });

  it('keeps the last words of a kernel that panicked', () => {
    const { failure, kernelLog } = resultOf(results, 'e2e.panic');
    expect([...(failure?.message ?? ''), ...kernelLog].join('')).toMatch(/sysrq|panic/i);
  });

  it('keeps the calls of a test that its kernel did not survive, to the one that did not return', () => {
    const { failure } = resultOf(results, 'e2e.panic');
    expect(failure?.calls.join('\n')).toMatch(
      /VFIO_GET_API_VERSION[^]*\[process \d+\].* write\(\d+<\/proc\/sysrq-trigger>.* = \? <unfinished/,
    );
    expect(failure?.reproducer).toContain('int main(');
  });

  it('leaves every report', () => {
    for (const file of [
      'results.json',
      'results.tap',
      'results.ktap',
      'junit.xml',
      'console.log',
      'journal.ndjson',
    ]) {
      expect(existsSync(join(folder, file)), file).toBe(true);
    }
  });
});

describe('an interrupted run', () => {
  it('leaves valid partial reports and no emulator', async () => {
    const folder = resultsFolder();
    const running = start(
      ['run', 'e2e.before', 'e2e.hang', '--timeout-scale', '100', '--results', folder],
      WORKER,
    );
    await running.line(/e2e\.before/);
    running.child.kill('SIGINT');
    process.kill(running.child.pid!, 'SIGTERM');
    const { code } = await running.finished;
    expect(code).not.toBe(0);
    expect(readResults(folder).run.outcome).toBe('interrupted');
    expect(() => execFileSync('pgrep', ['-f', folder])).toThrow();
  });
});

describe('listing', () => {
  it('needs neither root nor a device', () => {
    // Without capabilities root is a user like any other, and may still enter a checkout below /root.
    const powerless = ['--bounding-set=-all', '--inh-caps=-all', '--no-new-privs'];
    const command = [process.execPath, join(projectFolder, 'dist/cli.mjs'), 'list', '--json'];
    const [program = '', ...args] =
      process.getuid?.() === 0 ? ['setpriv', ...powerless, ...command] : command;
    const output = execFileSync(program, args, { encoding: 'utf8', maxBuffer: 64 * 2 ** 20 });
    const list = JSON.parse(output) as unknown[];
    expect(list.length).toBeGreaterThan(30);
  });
});
