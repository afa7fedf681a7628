import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readDossier } from './dossier.ts';
import { Journal, JOURNAL_FILE, type JournalEvent } from './journal.ts';
import { renderMail } from './mail.ts';
import { writeReports } from './results-directory.ts';
import { findRuns } from './runs.ts';
import { sampleBegin, sampleTest } from './samples.ts';
import { renderTriage, triage } from './triage.ts';

const parent = mkdtempSync(join(tmpdir(), 'vfio-conformance-triage-'));
const WARNING = [
  '------------[ cut here ]------------',
  'WARNING: drivers/vfio/container.c:432 at vfio_f+0x4f/0x110 [vfio], CPU#0: node/12',
  'RIP: 0010:vfio_f+0x4f/0x110 [vfio]',
  '---[ end trace 0000000000000000 ]---',
];

/** A run that begins at `hour`: tests that warn, with programs of so many lines, and one that fails. */
async function run(name: string, hour: number, programs: Record<string, number>): Promise<string> {
  const directory = join(parent, name);
  mkdirSync(directory, { recursive: true });
  const journal = new Journal(join(directory, JOURNAL_FILE));
  const ids = [...Object.keys(programs), 'device.other'];
  const failure = {
    kind: 'kernel-log',
    message: 'it complained',
    observed: WARNING[1],
    calls: ['ioctl(3) = 0'],
    hints: [],
  } as const;
  const events: JournalEvent[] = [
    sampleBegin(ids.map((id) => sampleTest(id))),
    { type: 'session-start', session: 0, tests: ids.length },
    ...ids.flatMap((id): JournalEvent[] => [
      { type: 'test-begin', id, nonce: 'n' },
      {
        type: 'test-end',
        id,
        status: 'fail',
        durationMs: 1,
        skip: [],
        failure:
          id === 'device.other'
            ? { kind: 'assertion', message: 'expected 1', calls: [], hints: [] }
            : {
                ...failure,
                calls: [...failure.calls],
                hints: [],
                reproducer: `int main(void) { return 0; }${'\n'.repeat(programs[id] ?? 1)}/* end */\n`,
              },
        kernelLog: id === 'device.other' ? [] : ['boring', ...WARNING, 'boring too'],
      },
    ]),
    { type: 'run-end', outcome: 'finished', reason: '' },
  ];
  for (const event of events) journal.append(event, new Date(Date.UTC(2026, 10, 22, hour)));
  journal.close();
  await writeReports(directory);
  return directory;
}

describe('triage', () => {
  it('names each bug once, the newest and most frequent first, with the shortest program', async () => {
    const old = await run('old', 8, { 'container.a': 5, 'container.b': 2 });
    await run('new', 9, { 'container.a': 9, 'container.c': 9 });
    const groups = triage(findRuns([parent]));
    expect(groups.map(({ title, failures, runs }) => [title, failures, runs])).toEqual([
      ['WARNING in vfio_f', 4, 2],
      ['device.other: expected N', 2, 2],
    ]);
    expect(groups[0]).toMatchObject({
      first: '2026-11-22T08:00:00.000Z',
      last: '2026-11-22T09:00:00.000Z',
      kernels: ['7.3.4'],
      tests: ['container.a', 'container.b', 'container.c'],
      reproducer: { path: join(old, 'dossiers/container.b/reproducer.c'), lines: 3 },
    });
    expect(renderTriage(groups)).toMatch(/^4x WARNING in vfio_f\n {4}last 2026-11-22T09/);
    expect(renderTriage([])).toBe('no failures\n');
  });

  it('says so if there is no run', () => {
    expect(() => findRuns([join(parent, 'nowhere')])).toThrow(/neither a results directory/);
  });
});

describe('a mail', () => {
  it('holds the splat, the calls, the configuration and the program in plain text', async () => {
    const directory = await run('mailed', 10, { 'container.a': 1 });
    const mail = renderMail(readDossier(join(directory, 'dossiers/container.a')), [
      'CONFIG_VFIO=m',
    ]);
    expect(mail).toMatch(
      /^Subject: \[BUG\] vfio: WARNING in vfio_f\n\nOn Linux 7\.3\.4 this does not hold:/,
    );
    for (const text of [
      'the promise of container.a is kept',
      WARNING[1]!,
      'ioctl(3) = 0',
      'CONFIG_VFIO=m',
      'int main(void)',
      'npx vfio-conformance run container.a',
    ])
      expect(mail).toContain(text);
    expect(mail).not.toContain('boring');
  });

  it('about a wrong answer names the promise', async () => {
    const directory = await run('wrong', 12, {});
    const mail = renderMail(readDossier(join(directory, 'dossiers/device.other')), []);
    expect(mail).toMatch(/^Subject: .* does not hold: the promise of device\.other is kept\n/);
  });

  it('shortens what is too long', async () => {
    const directory = await run('long', 11, { 'container.a': 1 });
    const place = join(directory, 'dossiers/container.a');
    writeFileSync(join(place, 'calls.txt'), 'call\n'.repeat(1000));
    expect(renderMail(readDossier(place), [])).toContain('[... 850 lines left out ...]');
  });
});
