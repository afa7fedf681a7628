import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
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

it('needs no compiler: the shim that it brings along is loaded', async () => {
  const built = join(folder, 'native/build');
  rmSync(built, { recursive: true, force: true });
  const bin = withoutCommands(['gcc', 'cc', 'make']);
  const own = resultsFolder();
  const args = ['run', 'container.api-version', '--quiet', '--results', own];
  await execute(program, args, { cwd: prefix, env: { ...process.env, PATH: bin } });
  expect(existsSync(built)).toBe(false);
  const statuses = readResults(own).tests.map(({ status }) => status);
  expect(statuses).toContain('pass');
  expect(statuses).not.toContain('error');
});

/** A folder with all commands of PATH but these. */
function withoutCommands(names: string[]): string {
  const bin = join(prefix, 'commands');
  mkdirSync(bin);
  const taken = new Set(names);
  for (const from of (process.env['PATH'] ?? '').split(':').filter((one) => existsSync(one)))
    for (const name of readdirSync(from).filter((one) => !taken.has(one))) {
      taken.add(name);
      symlinkSync(join(from, name), join(bin, name));
    }
  return bin;
}

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
