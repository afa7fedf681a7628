import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { kernelSeries, parseExpectations, readExpectations } from './expectations.ts';
import { projectFolder } from '../../setup/paths.mjs';

describe('expectations', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'expectations-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);

  it.each([
    ['7.3.4+deb13-amd64', '7.3'],
    ['6.12.57', '6.12'],
    ['6.1.0-32-amd64', '6.1'],
    ['7.4-rc1', '7.4'],
    ['trixie', undefined],
  ])('takes %s for series %s', (release, series) => expect(kernelSeries(release)).toBe(series));

  it('reads what fits the kernel and the machine, the special over the general', () => {
    write('all-fails.txt', 'a.x # everywhere\na.z # everywhere\n');
    write('7.3-fails.txt', '\n# comment\na.x # here\na.y timeout # slow\n');
    write('7.3-virtio-iommu-flakes.txt', 'a.x # now and then, 1 of 40\n');
    write('6.1-fails.txt', 'a.y # elsewhere\n');
    const found = readExpectations(folder, '7.3.4', 'virtio-iommu');
    expect(found.files).toEqual(['all-fails.txt', '7.3-fails.txt', '7.3-virtio-iommu-flakes.txt']);
    expect(found.of('a.x')).toMatchObject({ kind: 'flake', from: '7.3-virtio-iommu-flakes.txt:1' });
    expect(found.of('a.y')).toMatchObject({ kind: 'fail', outcome: 'timeout', reason: 'slow' });
    expect(found.of('a.z')).toMatchObject({ from: 'all-fails.txt:2' });
    expect(found.of('a.q')).toBeUndefined();
    expect(readExpectations(folder, '7.3.4', 'default').of('a.x')?.kind).toBe('fail');
    expect(readExpectations(folder, '6.12.1', 'default').files).toEqual(['all-fails.txt']);
  });

  it('lets a skip win, and takes globs and beginnings', () => {
    write('all-skips.txt', 'a.storm.* # takes the host down\n');
    write('7.3-fails.txt', 'a # all of it\n');
    const found = readExpectations(folder, '7.3.4', 'default');
    expect(found.of('a.storm.big')?.kind).toBe('skip');
    expect(found.of('a.other@igb')?.kind).toBe('fail');
  });

  it.each(['a.x', 'a.x #', 'a.x sometimes # reason', 'a.x fail crash # reason'])(
    'refuses %o, naming the line',
    (line) => {
      expect(() => parseExpectations(`# first\n${line}\n`, '7.3-fails.txt', 'fail')).toThrow(
        /7\.3-fails\.txt:2/,
      );
    },
  );

  it("can read the project's own files", () => {
    for (const kernel of ['6.1.0', '6.12.1', '7.3.4'])
      for (const machine of ['default', 'virtio-iommu', 'amd-iommu'])
        expect(() =>
          readExpectations(join(projectFolder, 'expectations'), kernel, machine),
        ).not.toThrow();
  });
});
