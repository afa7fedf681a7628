import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { listSuites, suitesModule } from './build.mjs';
import { neededSteps } from './command.mjs';
import { setUpBundles, setUpLocal, setUpVm } from './steps.mjs';

it('sets up no more than a command needs', () => {
  expect(neededSteps(['list', '--json'])).toBe(setUpBundles);
  expect(neededSteps(['--help'])).toBe(setUpBundles);
  expect(neededSteps(['run', '--help'])).toBe(setUpBundles);
  expect(neededSteps(['run', 'container.*'])).toBe(setUpVm);
  expect(neededSteps(['matrix'])).toBe(setUpVm);
  expect(neededSteps(['run', '--device', '0000:01:00.0'])).toBe(setUpLocal);
  expect(neededSteps(['run', '--device=0000:01:00.0'])).toBe(setUpLocal);
});

it('sets up for a run that goes on what its begin needed', () => {
  const directory = mkdtempSync(join(tmpdir(), 'resumed-'));
  const begin = { command: ['vfio-conformance', 'run', '--device', '0000:01:00.0'] };
  writeFileSync(join(directory, 'journal.ndjson'), `${JSON.stringify(begin)}\n`);
  expect(neededSteps(['run', '--resume', directory])).toBe(setUpLocal);
  expect(neededSteps(['run', `--resume=${directory}`])).toBe(setUpLocal);
  rmSync(directory, { recursive: true });
});

it('bundles every suite file by its path', () => {
  expect(listSuites().every((file) => /^suites\/.+\.(test|fuzz)\.ts$/.test(file))).toBe(true);
  expect(suitesModule(['suites/a/b.test.ts'], ['suites/a/b.bench.ts'], [])).toBe(
    'export const suiteFiles = [\n' +
      '  { file: "suites/a/b.test.ts", load: () => import("./suites/a/b.test.ts") },\n' +
      '];\n' +
      'export const benchFiles = [\n' +
      '  { file: "suites/a/b.bench.ts", load: () => import("./suites/a/b.bench.ts") },\n' +
      '];\n' +
      'export const corpus = [];\n',
  );
});
