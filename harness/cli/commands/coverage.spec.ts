import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { build, worker } from '../../../setup/build.mjs';
import { projectFolder } from '../../../setup/paths.mjs';
import { coverageOf, type Coverage } from '../../../reports/coverage.ts';
import type { TestMeta } from '../../protocol/test.ts';
import type { Uapi } from '../../protocol/uapi.ts';
import { readUncovered } from '../../../reports/uncovered.ts';

/** Not `dist/worker.mjs`, which somebody may be running. */
const BUNDLE = `dist/coverage-spec-${process.pid}.mjs`;

const ask = (question: string): unknown =>
  JSON.parse(
    execFileSync(process.execPath, [join(projectFolder, BUNDLE), question], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    }),
  );

let table: Coverage;

beforeAll(async () => {
  await build([worker('suites', BUNDLE)]);
  const reasons = readUncovered(join(projectFolder, 'expectations/uncovered.txt'));
  table = coverageOf(ask('--uapi') as Uapi, ask('--list') as TestMeta[], reasons);
});

afterAll(() => {
  for (const suffix of ['', '.map']) rmSync(join(projectFolder, BUNDLE + suffix), { force: true });
});

it('lets no test cover an item that no header has', () => {
  expect(table.unknown).toEqual([]);
});

it('excuses only what has no test', () => {
  expect(table.needless).toEqual([]);
});

it('leaves no ioctl of containers and groups without a test or a reason', () => {
  const gaps = table.rows.filter(
    ({ item, fd, tests, reason }) =>
      ['container', 'group'].includes(fd) &&
      !item.includes(':') &&
      tests.length === 0 &&
      reason === null,
  );
  expect(gaps).toEqual([]);
});

it('leaves no register of config space without a test or a reason', () => {
  const rows = table.rows.filter(({ item }) => item.startsWith('PCI_'));
  expect(rows.map(({ item }) => item)).toContain('PCI_CAP_ID_EXP:register:DEVCTL');
  expect(rows.filter(({ tests, reason }) => tests.length === 0 && reason === null)).toEqual([]);
});
