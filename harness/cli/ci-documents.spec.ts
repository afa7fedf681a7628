import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { renderKtap } from '../../reports/ktap.ts';
import { reduceJournal } from '../../reports/reduce.ts';
import { sampleRun } from '../../reports/samples.ts';
import { projectFolder } from '../../setup/paths.mjs';
import { commandPath } from '../../setup/shell.mjs';
import { checkCommandLine } from './command-line.ts';

const FOLDER = join(projectFolder, 'docs/ci');
const FILES = readdirSync(FOLDER, { recursive: true })
  .map(String)
  .filter((file) => statSync(join(FOLDER, file)).isFile());
const read = (file: string) => readFileSync(join(FOLDER, file), 'utf8');

/** The command lines of this program in a document, with a value in the place of each variable. */
function commandLines(text: string): string[][] {
  return [...text.matchAll(/\bvfio-conformance ((?:[a-z]+)\b[^\n;|&>'`#]*)/g)]
    .map(([, line = '']) => line.replaceAll('"$@"', '').replace(/\$\{\{.*?\}\}|\$\w+/g, '1'))
    .map((line) => (line.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', '')));
}

describe('the documents for CI systems', () => {
  const lines = FILES.flatMap((file) =>
    commandLines(read(file)).map((args) => [file, args.join(' '), args] as const),
  );

  it('hold command lines', () => expect(lines.length).toBeGreaterThan(15));

  it.each(lines)('%s: %s', (_file, _line, args) => checkCommandLine([...args]));

  it.each(FILES.filter((file) => /\.(ya?ml|fmf)$/.test(file)))('%s is YAML', (file) => {
    expect(parseYaml(read(file))).toBeInstanceOf(Object);
  });

  it.each(FILES.filter((file) => file.endsWith('.sh')))('%s is a shell script', (file) => {
    execFileSync('sh', ['-n', join(FOLDER, file)]);
  });

  it('have plans of tmt that are no tests: what is above a file in the tree is inherited', () => {
    for (const file of FILES.filter((one) => one.endsWith('.fmf'))) {
      const above = [join(dirname(file), '../main.fmf'), file].filter((one) => FILES.includes(one));
      const keys = above.flatMap((one) => Object.keys(parseYaml(read(one)) as object));
      expect(keys.includes('test') && keys.includes('execute'), file).toBe(false);
      expect(keys.includes('test') || keys.includes('execute'), file).toBe(true);
    }
  });

  it('have a unit that begins a run of its own for each kernel, and leaves no device taken', () => {
    const unit = read('vfio-conformance.service');
    expect(unit).toMatch(/--results runs\/%v;/);
    expect(unit).toMatch(/^ExecStopPost=.*vfio-conformance restore$/m);
  });

  it.runIf(commandPath('systemd-analyze'))('have a unit that systemd takes', () => {
    const unit = join(FOLDER, 'vfio-conformance.service');
    execFileSync('systemd-analyze', ['verify', unit], { stdio: 'pipe' });
  });
});

it('tells LAVA how each test of a KTAP document ended', () => {
  const results = reduceJournal(sampleRun());
  const bin = mkdtempSync(join(tmpdir(), 'lava-'));
  try {
    writeFileSync(join(bin, 'lava-test-case'), '#!/bin/sh\necho "$1 $3"\n', { mode: 0o755 });
    const said = execFileSync('sh', [join(FOLDER, 'lava/report-ktap.sh')], {
      input: renderKtap(results),
      env: { PATH: [bin, process.env['PATH']].join(delimiter) },
      encoding: 'utf8',
    });
    const as = { pass: 'pass', xfail: 'pass', skip: 'skip' } as Record<string, string>;
    expect(said.trim().split('\n').sort()).toEqual(
      results.tests.map(({ id, status }) => `${id} ${as[status] ?? 'fail'}`).sort(),
    );
  } finally {
    rmSync(bin, { recursive: true });
  }
});

it.each([
  ['good', 0, 0],
  ['bad after failures', 1, 1],
  ['bad if the kernel died', 5, 1],
  ['skipped if the command line is wrong', 2, 125],
  ['skipped if the harness has failed', 3, 125],
  ['skipped if all was skipped', 4, 125],
])('calls a commit %s when it bisects', (_what, status, told) => {
  expect(bisect({ make: 0, 'vfio-conformance': status })).toBe(told);
});

it('skips a commit that cannot be built, and stops when it is interrupted', () => {
  expect(bisect({ make: 2, 'vfio-conformance': 0 })).toBe(125);
  expect(bisect({ make: 0, 'vfio-conformance': 130 })).toBe(255);
});

/** The exit status of bisect.sh where commands end in these ways. */
function bisect(commands: Record<string, number>): number | null {
  const bin = mkdtempSync(join(tmpdir(), 'bisect-'));
  for (const [name, status] of Object.entries(commands))
    writeFileSync(join(bin, name), `#!/bin/sh\nexit ${status}\n`, { mode: 0o755 });
  const env = { PATH: [bin, process.env['PATH']].join(delimiter) };
  const { status } = spawnSync('sh', [join(FOLDER, 'bisect.sh'), 'container.*'], { env });
  rmSync(bin, { recursive: true });
  return status;
}
