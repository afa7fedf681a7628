import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Journal, JOURNAL_FILE, type JournalEvent } from '../../reports/journal.ts';
import { sampleBegin } from '../../reports/samples.ts';
import { commandLine } from './command-line.ts';
import { joinDashValues } from './dash-values.ts';
import { runInvocation, shellWord } from './program.ts';
import { recordedOptions } from './recorded-options.ts';
import { rerunOptions, runCommand, type RunArguments } from './run-options.ts';

/** A results directory of these events. */
function directoryOf(...events: JournalEvent[]): string {
  const directory = mkdtempSync(join(tmpdir(), 'vfio-conformance-usage-'));
  const journal = new Journal(join(directory, JOURNAL_FILE));
  for (const event of events) journal.append(event);
  journal.close();
  return directory;
}

const RUN = directoryOf(sampleBegin([]));
const ELSEWHERE = directoryOf({
  ...sampleBegin([]),
  command: ['vfio-conformance', 'run', '--device', '0000:ff:1f.7', '--yes'],
  target: { target: 'local', host: 'lab', devices: '0000:ff:1f.7 8086:10d3' },
});
const NO_RUN = directoryOf({ type: 'bye' });

const complaint = async (...args: string[]): Promise<string> => {
  try {
    await commandLine(args);
  } catch (error) {
    return String(error);
  }
  return 'no complaint';
};

describe('command line', () => {
  it.each<[string, string[], RegExp]>([
    ['a command that does not exist', ['lst'], /no command lst\n {2}next: did you mean list/],
    ['an option that does not exist', ['run', '--kernle', 'x'], /no option --kernle\n.*--kernel/],
    ['an option of another command', ['list', '--jsn'], /no option --jsn\n.*--json/],
    ['no command', [], /which command[^]*--help/],
    ['an option without its value', ['run', '--kernel'], /not enough arguments following: kernel/],
    ['an option given twice', ['run', '--kernel', 'a', '--kernel', 'b'], /more than once/],
    ['options that exclude each other', ['run', '--device', 'x', '--before', 'y'], /--before/],
    ['a factor that is none', ['run', '--timeout-scale', '0'], /above 0/],
    ['a count that is none', ['run', '--max-deaths', 'few'], /above 0/],
    ['a shard that is none', ['run', '--shard', '4/3'], /i from 1 to n/],
    ['a balance without shards', ['run', '--balance', '/'], /balance -> shard/],
    ['a resumed run with options', ['run', 'x', '--resume', '/', '--bail', '1'], /no ids, --bail/],
    ['a resumed run that is none', ['run', '--resume', '/'], /not a results directory/],
    [
      'a run of another machine',
      ['run', '--resume', ELSEWHERE],
      /begun on another[^]*host then: lab/,
    ],
    ['merging what is no run', ['merge', '/proc/self/fdinfo', '--results', '/'], /neither/],
    ['a matrix of an unknown machine', ['matrix', '--machine', 'amd'], /did you mean amd-iommu/],
    ['a matrix of devices here', ['matrix', '--device', 'x'], /no option --device/],
    ['an unknown machine', ['run', '--machine', 'virtio'], /did you mean virtio-iommu/],
    ['an unknown kernel', ['run', '--kernel', 'bookwrm'], /did you mean bookworm/],
    ['a change that does not exist', ['compare', '/', '/', '--fail-on', 'x'], /knows no x/],
    ['a folder without runs', ['triage', '/proc/self/fdinfo'], /neither a results directory/],
    ['no command of a command', ['expectations'], /not enough|which command/i],
    ['two forms of one report', ['report', '/', '--mail', '--ktap'], /exclude each other/],
    ['a folder that is no dossier', ['report', '--mail', '/'], /not a dossier/],
    [
      'a place for a page that is none',
      ['report', RUN, '--html', '--output', '/no/x'],
      /no folder/,
    ],
    ['a journal without a run', ['report', NO_RUN], /holds no run of tests/],
    ['a folder that is no results directory', ['report', '/'], /not a results directory/],
  ])('explains %s', async (_, args, expected) => {
    expect(await complaint(...args)).toMatch(/^UsageError: /);
    expect(await complaint(...args)).toMatch(expected);
  });

  it('takes values that look like options', () => {
    expect(
      joinDashValues(['run', '--qemu-arg', '-d', '--append', '--x', 'id', '--qemu-arg']),
    ).toEqual(['run', '--qemu-arg=-d', '--append=--x', 'id', '--qemu-arg']);
  });
});

describe('running again', () => {
  it('repeats the options that matter, quoted', () => {
    const args = {
      kernel: 'bookworm',
      append: ['a=1 b'],
      'qemu-arg': ['-d', "it's"],
      force: true,
      memory: '8G',
      'timeout-scale': 2,
      'max-deaths': 3,
      ktap: true,
      quiet: false,
    } as unknown as RunArguments;
    expect(rerunOptions(args)).toEqual([
      '--kernel=bookworm',
      "'--append=a=1 b'",
      '--qemu-arg=-d',
      "'--qemu-arg=it'\\''s'",
      '--force',
      '--memory=8G',
      '--timeout-scale=2',
    ]);
    expect(runCommand({ ...args, ids: ['group'] }).slice(0, 5)).toEqual([
      'vfio-conformance',
      'run',
      'group',
      '--kernel=bookworm',
      '--append=a=1 b',
    ]);
    expect(recordedOptions(runCommand(args))).toMatchObject(args);
  });

  it('names the program as it was called', () => {
    expect(runInvocation({ npm_lifecycle_event: 'start' })).toBe('npm start --');
    expect(runInvocation({})).toBe('npx vfio-conformance run');
  });

  it('quotes only what the shell would touch', () => {
    expect(shellWord('container.map@igb')).toBe('container.map@igb');
    expect(shellWord('*')).toBe("'*'");
    expect(shellWord('')).toBe("''");
  });
});
