import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { projectFolder } from '../../setup/paths.mjs';
import { readResults, resultsFolder, start } from './vfio-conformance.ts';

const execute = promisify(execFile);

const prefix = mkdtempSync(join(tmpdir(), 'vfio-conformance-package-'));
const folder = join(prefix, 'lib/node_modules/vfio-conformance');
const program = join(prefix, 'bin/vfio-conformance');
/** Some 50 tests, of several areas, with and without devices. */
const SOME = [
  'container.api-version',
  'container.check-extension',
  'container.get-info',
  'device.info',
  'group.status',
];

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

it('knows the same tests as the repository', async () => {
  const args = ['list', '--json'];
  const most = { cwd: prefix, maxBuffer: 64 * 2 ** 20 };
  const { stdout } = await execute(program, args, most);
  const { output } = await start(args).finished;
  expect(JSON.parse(stdout)).toEqual(JSON.parse(output.slice(output.indexOf('[\n'))));
});

it('has the same results in the virtual machine as the repository', async () => {
  const own = resultsFolder();
  await execute(program, ['run', ...SOME, '--quiet', '--results', own], { cwd: prefix });
  const wanted = resultsFolder();
  const { code, output } = await start(['run', ...SOME, '--results', wanted]).finished;
  expect(code, output).toBe(0);
  const outcomes = (results: string) =>
    readResults(results).tests.map(({ id, status, skip }) => ({ id, status, skip }));
  expect(outcomes(own)).toEqual(outcomes(wanted));
  expect(outcomes(own).length).toBeGreaterThan(30);
});
