import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { leftoverPlans, restoreLeftovers } from './leftovers.ts';
import { makePlan, storedPlans, storePlan } from './plan-store.ts';

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'plans-')), 'deep/down');
});
afterEach(() => rmSync(join(folder, '../..'), { recursive: true }));

describe('plans', () => {
  it('are kept as they are, and belong to their run while it lives', () => {
    const plan = makePlan([]);
    storePlan(plan, folder);
    expect(storedPlans(folder).map((stored) => stored.plan)).toEqual([plan]);
    expect(leftoverPlans(folder)).toEqual([]);
    expect(restoreLeftovers(folder)).toEqual([]);
  });

  it('are left over when their run is no more, and gone when they are restored', async () => {
    const dead = spawn('true');
    const { pid } = dead;
    await once(dead, 'exit');
    storePlan({ ...makePlan([]), pid: pid!, started: '1' }, folder);
    expect(leftoverPlans(folder)).toHaveLength(1);
    expect(restoreLeftovers(folder)).toMatchObject([{ outcome: 'put back', problems: [] }]);
    expect(restoreLeftovers(folder)).toEqual([]);
  });

  it('that are not whole go with their run, and not before', () => {
    const own = `${storePlan(makePlan([]), folder)}.new`;
    const foreign = join(folder, '01234567-1-1.json.new');
    for (const file of [own, foreign]) writeFileSync(file, '{"schema":');
    restoreLeftovers(folder);
    expect([own, foreign].map((file) => existsSync(file))).toEqual([true, false]);
  });

  it('need nothing put back after another boot', () => {
    storePlan({ ...makePlan([]), bootId: 'another' }, folder);
    expect(restoreLeftovers(folder)).toMatchObject([
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
