import { expect, it } from 'vitest';
import { lockGroups } from './group-lock.ts';

// Numbers that no machine has: the locks are those of the whole machine.
const [A, B] = [4_000_001, 4_000_002];

it('a group is one run’s, all groups of a run or none', async () => {
  const first = await lockGroups([A, A]);
  await expect(lockGroups([B, A])).rejects.toThrow(/group 4000001 is taken/);
  const second = await lockGroups([B]);
  first.release();
  (await lockGroups([A])).release();
  second.release();
});
