import { execFileSync, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { KtapStream } from '../../reports/ktap-stream.ts';
import { reduceJournal, Reducer } from '../../reports/reduce.ts';
import { sampleRun } from '../../reports/samples.ts';
import { projectFolder } from '../../setup/paths.mjs';
import { commandPath } from '../../setup/shell.mjs';
import { checkCommandLine } from './command-line.ts';

const FOLDER = join(projectFolder, 'docs/ci');
const FILES = readdirSync(FOLDER, { recursive: true })
  .map(String)
  .filter((file) => statSync(join(FOLDER, file)).isFile());
const BISECT = join(FOLDER, 'bisect.sh');
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

  it('have a GitLab job whose folders the merge request shows, and a limit of its own', () => {
    interface Job {
      timeout?: string;
      script?: string[];
      artifacts?: { paths: string[] };
    }
    const jobs = Object.values(parseYaml(read('gitlab-ci.yml')) as Record<string, Job>);
    for (const { timeout, artifacts } of jobs.filter(({ script }) => script)) {
      expect(timeout).toMatch(/^\d+[hm]$/);
      for (const path of artifacts?.paths ?? []) expect(path).toMatch(/\/$/);
    }
  });

  it('have a pipeline of Jenkins that reports what is there if a cell never ran', () => {
    const [cells, end] = read('Jenkinsfile').split('\n  post {\n') as [string, string];
    expect(cells).toMatch(/junit .*allowEmptyResults: true/);
    expect(end).not.toMatch(/junit/);
    expect(end.match(/^.*unstash.*$/m)?.[0]).toMatch(/catchError\(.*\) \{ unstash/);
    expect(end.indexOf('archiveArtifacts')).toBeLessThan(end.indexOf('vfio-conformance merge'));
  });

  it('have a job on bare metal that keeps what a job has left in which the machine died', () => {
    const { jobs } = parseYaml(read('github-bare-metal.yml')) as {
      jobs: {
        conformance: { concurrency: { queue: string }; steps: { id?: string; run?: string }[] };
      };
    };
    const job = jobs.conformance;
    const state = mkdtempSync(join(tmpdir(), 'ci-state-'));
    expect(job.concurrency.queue).toBe('max');
    const step = job.steps.find(({ id }) => id === 'left')?.run ?? '';
    mkdirSync(join(state, 'run'));
    try {
      const said = withCommands({ 'vfio-conformance': 'echo "$@"; [ $1 != report ]' }, (env) => {
        const run = () => {
          const own = { ...env, RESULTS_OF_CI: state, GITHUB_OUTPUT: join(state, 'output') };
          return execFileSync('sh', ['-ec', step], { env: own, encoding: 'utf8' });
        };
        const nothing = run();
        writeFileSync(join(state, 'run/journal.ndjson'), '');
        return nothing + run();
      });
      expect(said).toBe(`report ${state}/run\n`);
      expect(readFileSync(join(state, 'output'), 'utf8')).toBe(`results=${state}/run\n`);
    } finally {
      rmSync(state, { recursive: true });
    }
  });

  it('have a unit that begins a run of its own for each kernel, and leaves no device taken', () => {
    expect(UNIT).toMatch(/^Environment=.*\bBOOTS=\d+$/m);
    expect(UNIT).toMatch(/--results runs\/%v;/);
    expect(UNIT).toMatch(/^ExecStopPost=.*vfio-conformance restore$/m);
  });

  it('have a unit that gives up a kernel that takes the machine down at every boot', () => {
    expect(runsAfterBoots('dies')).toEqual({ runs: BOOTS, last: 'report runs/7.3' });
  });

  it('have a unit that counts no boot that it has survived', () => {
    expect(runsAfterBoots('survives')).toMatchObject({ runs: BOOTS + 2, last: 'restore' });
  });

  it.runIf(commandPath('systemd-analyze'))('have a unit that systemd takes', () => {
    const unit = join(FOLDER, 'vfio-conformance.service');
    execFileSync('systemd-analyze', ['verify', unit], { stdio: 'pipe' });
  });
});

const UNIT = read('vfio-conformance.service');
/** In the place of the unit's own number. */
const BOOTS = 3;

/** What the unit has called if the machine dies while it runs, or does not, more often than it bears. */
function runsAfterBoots(machine: 'dies' | 'survives'): { runs: number; last: string | undefined } {
  const commands = (name: string) =>
    [...UNIT.matchAll(new RegExp(`^${name}=-?(.*)$`, 'gm'))].map(([, line = '']) =>
      line.replaceAll('%v', '7.3'),
    );
  const start = [...commands('ExecStartPre'), ...commands('ExecStart')].join(' || exit\n');
  const stop = machine === 'dies' ? '' : commands('ExecStopPost').join('\n');
  const state = mkdtempSync(join(tmpdir(), 'ci-state-'));
  mkdirSync(join(state, 'runs'));
  try {
    return withCommands({ 'vfio-conformance': 'echo "$@" >>said' }, (env) => {
      const options = { cwd: state, env: { ...env, BOOTS: String(BOOTS) } };
      for (let boot = 0; boot < BOOTS + 2; boot++)
        for (const script of [start, stop]) spawnSync('sh', ['-c', script], options);
      const said = readFileSync(join(state, 'said'), 'utf8').trimEnd().split('\n');
      return { runs: said.filter((line) => line.startsWith('run ')).length, last: said.at(-1) };
    });
  } finally {
    rmSync(state, { recursive: true });
  }
}

describe('what LAVA is told', () => {
  const { tests } = reduceJournal(sampleRun());
  const as = { pass: 'pass', xfail: 'pass', skip: 'skip' } as Record<string, string>;
  const cases = tests.map(({ id, status }) => `CASE ${id} ${as[status] ?? 'fail'}`).sort();

  it.each([
    ['that all is as expected', 0, ['CASE vfio-run pass']],
    ['of failures', 1, ['CASE vfio-run fail']],
    [
      'of a run that could not be done',
      3,
      ['CASE vfio-run fail', 'RAISE the run ended with exit code 3'],
    ],
  ])('is each test and its end, and %s', (_what, status, end) => {
    const told = reported(output(), status);
    expect(told.slice(0, cases.length).sort()).toEqual(cases);
    expect(told.slice(cases.length)).toEqual(end);
  });

  it.each([
    ['the set-up has failed', 3, 'RAISE the run ended with exit code 3'],
    ['no test has a result', 0, 'RAISE no test has a result'],
  ])('is an error if %s', (_what, status, end) => {
    expect(reported('KTAP version 1\n', status)).toEqual(['CASE vfio-run fail', end]);
  });

  /** What a run prints with --ktap. */
  function output(): string {
    let text = '';
    const stream = new KtapStream((more) => (text += more));
    const reducer = new Reducer();
    for (const line of sampleRun()) stream.show(line, reducer.apply(line));
    stream.end(reducer.results());
    return text;
  }

  /** What reaches LAVA of a run that prints this and ends in this way. */
  function reported(text: string, status: number): string[] {
    const commands = {
      'vfio-conformance': `cat; exit ${status}`,
      'lava-test-case': 'echo "CASE $1 $3"',
      'lava-test-raise': 'echo "RAISE $*"; exit 1',
    };
    return withCommands(commands, (env) => {
      const script = join(FOLDER, 'lava/report.sh');
      const args = [script, 'vfio-conformance', 'run'];
      const { stdout } = spawnSync('sh', args, { input: text, env, encoding: 'utf8' });
      return stdout.split('\n').filter((line) => /^(CASE|RAISE) /.test(line));
    });
  }
});

it.each([
  ['good', 0, 0],
  ['bad after failures', 1, 1],
  ['bad if the kernel died', 5, 1],
  ['skipped if the harness has failed, or the kernel does not boot', 3, 125],
  ['skipped if all was skipped', 4, 125],
])('calls a commit %s when it bisects', (_what, status, told) => {
  expect(bisect({ run: status })).toBe(told);
});

it('skips a commit that cannot be built', () => expect(bisect({ make: 2 })).toBe(125));

it.each([
  ['it is interrupted', { run: 130 }, []],
  ['there is no such test, before it builds anything', { list: 2, make: 2 }, []],
  ['there is no such option', { run: 2 }, ['--kernal', 'x']],
  ['the command cannot be executed', { run: 126 }, []],
  ['the command has gone', { run: 127 }, []],
])('stops bisecting if %s', (_what, statuses, options) => {
  expect(bisect(statuses, ...options)).toBe(255);
});

it('leaves options of a run to the run', () => {
  expect(bisect({ list: 2 }, '--machine', 'virtio-iommu')).toBe(0);
});

/** The exit status of bisect.sh where commands end in these ways, 0 if not given. */
function bisect(statuses: { make?: number; list?: number; run?: number }, ...options: string[]) {
  const { make = 0, list = 0, run = 0 } = statuses;
  const commands = {
    make: `exit ${make}`,
    'vfio-conformance': `case $1 in list) exit ${list} ;; run) exit ${run} ;; esac`,
  };
  return withCommands(commands, (env) => {
    const { status } = spawnSync(BISECT, ['container.*', ...options], { env, stdio: 'pipe' });
    return status;
  });
}

it.runIf(commandPath('git'))('finds a commit as the script of `git bisect run`', () => {
  const tree = mkdtempSync(join(tmpdir(), 'bisect-tree-'));
  const commands = {
    make: 'exit 0',
    'vfio-conformance': '[ $1 = list ] || ! grep -q broken promise',
  };
  try {
    withCommands(commands, (env) => {
      const who = ['-c', 'user.name=x', '-c', 'user.email=x@example.org'];
      const git = (...args: string[]) =>
        execFileSync('git', [...who, ...args], { cwd: tree, env, encoding: 'utf8', stdio: 'pipe' });
      git('init', '--quiet');
      for (const [subject, text] of ['kept 1', 'kept 2', 'broken 3', 'broken 4'].entries()) {
        writeFileSync(join(tree, 'promise'), text);
        git('add', 'promise');
        git('commit', '--quiet', '--no-gpg-sign', '-m', `commit ${subject + 1}`);
      }
      git('bisect', 'start', 'HEAD', 'HEAD~3');
      git('bisect', 'run', BISECT, 'container.map-dma.overlap');
      expect(git('log', '--format=%s', '-1', 'refs/bisect/bad').trim()).toBe('commit 3');
    });
  } finally {
    rmSync(tree, { recursive: true });
  }
});

/** What is to be done with commands in PATH that are these shell scripts. */
function withCommands<T>(scripts: Record<string, string>, use: (env: NodeJS.ProcessEnv) => T): T {
  const bin = mkdtempSync(join(tmpdir(), 'ci-bin-'));
  try {
    for (const [name, script] of Object.entries(scripts))
      writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return use({ ...process.env, PATH: [bin, process.env['PATH']].join(delimiter) });
  } finally {
    rmSync(bin, { recursive: true });
  }
}
