import { chargedCaches, chargedObjects, slabinfoReadable, withSlabCounts } from '../kernel/slab.ts';
import { expect } from './expect.ts';
import type { Requirement } from './requirement.ts';

/** What {@link expectCharged} counts by. */
export const CHARGED_OBJECTS: Requirement = {
  name: 'memory of the kernel that is charged to control groups',
  missing: () =>
    slabinfoReadable() && chargedCaches().length > 0
      ? null
      : 'the kernel charges its memory to nobody (CONFIG_MEMCG), or does not show it (/proc/slabinfo)',
};

/**
 * Expects that what the kernel allocates for a user is charged to the user's control group, so that
 * a limit of memory limits it. Others allocate and free at the same time: half of the objects are enough.
 * @param make lets the kernel allocate `count` objects, a hundred at least, of each of `kinds` kinds of different size
 * @param least bytes of an object: smaller ones are not looked at
 */
export function expectCharged(
  { count, kinds = 1, least = 64 }: { count: number; kinds?: number; least?: number },
  make: () => void,
): void {
  const grown = withSlabCounts((slab) => {
    const charged = () => chargedObjects(slab.objectsInUse(), least);
    const before = charged();
    make();
    return [...charged()].filter(
      ([cache, active]) => active - (before.get(cache) ?? 0) >= count / 2,
    );
  });
  expect(grown.length, `kinds of objects that were charged ${count} times`).toBeGreaterThanOrEqual(
    kinds,
  );
}
