import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { withLock } from './lock.mjs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('lets one in after the other', async () => {
  const file = join(folder, 'lock');
  let inside = 0;
  let most = 0;
  await Promise.all(
    [1, 2, 3].map(() =>
      withLock(file, async () => {
        most = Math.max(most, ++inside);
        await sleep(20);
        inside--;
      }),
    ),
  );
  expect(most).toBe(1);
});

it('takes over from a holder that was killed, also when its process id was reused', async () => {
  const file = join(folder, 'lock');
  writeFileSync(file, `${process.pid} 1\n`);
  expect(await withLock(file, () => Promise.resolve('in'))).toBe('in');
  writeFileSync(file, '4194304 12345\n');
  expect(await withLock(file, () => Promise.resolve('in'))).toBe('in');
});

it('is free again after a failure', async () => {
  const file = join(folder, 'lock');
  await expect(withLock(file, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  expect(await withLock(file, () => Promise.resolve('in'))).toBe('in');
});
