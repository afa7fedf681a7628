import { objectsInUse, slabinfoReadable, unaccountedPages } from '../kernel/slab.ts';
import { eventually } from './eventually.ts';
import { expect } from './expect.ts';
import type { Requirement } from './requirement.ts';

/** What {@link expectNoKernelLeak} counts by. */
export const SLABINFO: Requirement = {
  name: '/proc/slabinfo',
  missing: () => (slabinfoReadable() ? null : 'the kernel does not tell what its caches hold'),
};

/**
 * How long to wait after each batch for what RCU and work queues free. The same cache has to grow by
 * each before it is called a leak: what caches keep for themselves comes once.
 */
const PATIENCE_MS = [500, 500, 10_000];

/** Objects in use by cache, and pages that are nobody's. */
function holdings(): Map<string, number> {
  return objectsInUse().set('pages', unaccountedPages());
}

/** What there is more of than before, by more than `limit`. */
function growth(before: ReadonlyMap<string, number>, limit: number): Map<string, number> {
  const more = [...holdings()].map(
    ([name, objects]) => [name, objects - (before.get(name) ?? 0)] as const,
  );
  return new Map(more.filter(([, objects]) => objects > limit));
}

/**
 * Expects that the kernel gives back what it allocates for `rounds` repetitions of the same thing. Others
 * allocate at the same time, and caches round up: less than one object for two rounds is no leak. What
 * is freed later, by RCU or a work queue, has the time to be.
 * @param run does `rounds` repetitions, a hundred at least; called again while it seems to leak.
 */
export function expectNoKernelLeak(rounds: number, run: () => void): void {
  let suspects: string[] = [];
  for (const [batch, patience] of PATIENCE_MS.entries()) {
    const before = holdings();
    run();
    eventually(() => growth(before, rounds / 2).size === 0, patience);
    const grown = [...growth(before, rounds / 2).keys()];
    suspects = batch === 0 ? grown : suspects.filter((name) => grown.includes(name));
    if (suspects.length === 0) return;
  }
  expect(suspects, `what grows by ${rounds} rounds, each time`).toEqual([]);
}
