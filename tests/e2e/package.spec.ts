import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { projectFolder } from '../../setup/paths.mjs';
import { readResults, resultsFolder, start } from './vfio-conformance.ts';

const SOME = ['container.api-version', 'group.status', 'irq.msix.each-vector@igb'];
const execute = promisify(execFile);

const prefix = mkdtempSync(join(tmpdir(), 'vfio-conformance-package-'));
const folder = join(prefix, 'lib/node_modules/vfio-conformance');

beforeAll(async () => {
  const pack = ['pack', '--pack-destination', prefix, '--json', '--silent'];
  const { stdout } = await execute('npm', pack, { cwd: projectFolder });
  // What the set-up says comes first.
  const [{ filename }] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [{ filename: string }];
  const install = ['install', '--global', '--prefix', prefix, '--no-audit', '--no-fund'];
  await execute('npm', [...install, join(prefix, filename)], { cwd: prefix });
});

afterAll(() => rmSync(prefix, { recursive: true, force: true }));

it('brings bundles and a shim along in the place of sources', () => {
  for (const file of ['dist/cli.mjs', 'dist/worker.mjs', 'native/prebuilt/arm64/vc-actor'])
    expect(existsSync(join(folder, file)), file).toBe(true);
  for (const file of ['suites', 'harness/cli', 'node_modules/esbuild'])
    expect(existsSync(join(folder, file)), file).toBe(false);
});

it('gives the same results as the repository', async () => {
  const [installed, repository] = [resultsFolder(), resultsFolder()];
  const args = ['run', ...SOME, '--results', installed];
  await execute(join(prefix, 'bin/vfio-conformance'), args, { cwd: prefix });
  await start(['run', ...SOME, '--results', repository]).finished;
  const statuses = (results: string) =>
    readResults(results).tests.map(({ id, title, status }) => ({ id, title, status }));
  expect(statuses(installed)).toEqual(statuses(repository));
  expect(readResults(installed).run).toMatchObject({ outcome: 'finished', exitCode: 0 });
});
