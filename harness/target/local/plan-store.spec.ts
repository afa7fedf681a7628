import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { projectFolder } from '../../../setup/paths.mjs';
import { lockGroups } from './group-lock.ts';
import { leftoverPlans, restoreLeftovers } from './leftovers.ts';
import { damagedPlans, makePlan, storedPlans, storePlan } from './plan-store.ts';

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'plans-')), 'deep/down');
});
afterEach(() => rmSync(join(folder, '../..'), { recursive: true }));

/** The process of a run that has been killed. */
async function deadRun(): Promise<{ pid: number; started: string }> {
  const dead = spawn('true');
  await once(dead, 'exit');
  return { pid: dead.pid!, started: '1' };
}

/** In a group whose number no machine has: locks are those of the whole machine. */
const UNKNOWN_DEVICE = {
  bdf: 'ffff:00:00.0',
  iommuGroup: 4_000_003,
  driver: null,
  driverOverride: null,
  numVfs: 0,
  attributes: {},
  links: [],
  config: '',
};

describe('plans', () => {
  it('are kept as they are, and belong to their run while it lives', async () => {
    const plan = makePlan([]);
    storePlan(plan, folder);
    expect(storedPlans(folder).map((stored) => stored.plan)).toEqual([plan]);
    expect(leftoverPlans(folder)).toEqual([]);
    expect(await restoreLeftovers(folder)).toEqual([]);
  });

  it('are left over when their run is no more, and gone when they are restored', async () => {
    storePlan({ ...makePlan([]), ...(await deadRun()) }, folder);
    expect(leftoverPlans(folder)).toHaveLength(1);
    expect(await restoreLeftovers(folder)).toMatchObject([{ outcome: 'put back', problems: [] }]);
    expect(await restoreLeftovers(folder)).toEqual([]);
  });

  it('are left alone while somebody else has a group of theirs', async () => {
    const locks = await lockGroups([UNKNOWN_DEVICE.iommuGroup]);
    storePlan({ ...makePlan([UNKNOWN_DEVICE]), ...(await deadRun()) }, folder);
    expect(await restoreLeftovers(folder)).toMatchObject([
      { outcome: 'not put back', problems: [expect.stringContaining('is taken by another run')] },
    ]);
    expect(storedPlans(folder)).toHaveLength(1);
    locks.release();
  });

  it('of other groups than those that are locked are left alone', async () => {
    storePlan({ ...makePlan([UNKNOWN_DEVICE]), ...(await deadRun()) }, folder);
    expect(await restoreLeftovers(folder, [UNKNOWN_DEVICE.iommuGroup + 1])).toEqual([]);
    expect(await restoreLeftovers(folder, [UNKNOWN_DEVICE.iommuGroup])).toMatchObject([
      { problems: ['ffff:00:00.0 is gone'], stays: false },
    ]);
  });

  it('that cannot be read are named, and hide none of the others', () => {
    storePlan(makePlan([]), folder);
    const torn = join(folder, '01234567-1-1.json');
    writeFileSync(torn, '{"schema": 1, "devi');
    expect(storedPlans(folder)).toHaveLength(1);
    expect(damagedPlans(folder)).toEqual([torn]);
  });

  it('are not half there where there is room for half of them', () => {
    const outfile = join(folder, '../../store.mjs');
    const contents = `
      import { makePlan, storePlan } from './harness/target/local/plan-store.ts';
      const plan = makePlan([{ attributes: { long: 'x'.repeat(20_000) } }]);
      try { storePlan(plan, process.argv[2]); } catch (error) { console.log(error.message); }`;
    buildSync({
      stdin: { contents, resolveDir: projectFolder },
      ...{ bundle: true, platform: 'node', format: 'esm', outfile },
    });
    const args = ['--fsize=8192', process.execPath, outfile, folder];
    expect(execFileSync('prlimit', args, { encoding: 'utf8' })).toMatch(/nothing was touched/);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('may go while somebody looks', () => {
    storePlan(makePlan([]), folder);
    symlinkSync('gone.json', join(folder, 'going.json'));
    expect(storedPlans(folder)).toHaveLength(1);
  });

  it('that are not whole go with their run, and not before', async () => {
    const own = `${storePlan(makePlan([]), folder)}.new`;
    const foreign = join(folder, '01234567-1-1.json.new');
    for (const file of [own, foreign]) writeFileSync(file, '{"schema":');
    await restoreLeftovers(folder);
    expect([own, foreign].map((file) => existsSync(file))).toEqual([true, false]);
  });

  it('need nothing put back after another boot', async () => {
    storePlan({ ...makePlan([]), bootId: 'another' }, folder);
    expect(await restoreLeftovers(folder)).toMatchObject([
      { outcome: expect.stringContaining('booted since') as string },
    ]);
    expect(storedPlans(folder)).toEqual([]);
  });

  it('are refused where they cannot be written', () => {
    writeFileSync(join(folder, '../..', 'deep'), 'a file in the way');
    expect(() => storePlan(makePlan([]), folder)).toThrow(/nothing was touched/);
    expect(readFileSync(join(folder, '../..', 'deep'), 'utf8')).toBe('a file in the way');
  });
});
