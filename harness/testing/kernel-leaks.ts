import {
  slabinfoReadable,
  unaccountedPages,
  withSlabCounts,
  type SlabCounts,
} from '../kernel/slab.ts';
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
function holdings(slab: SlabCounts): Map<string, number> {
  return slab.objectsInUse().set('pages', unaccountedPages());
}

/** What there is more of than before, by more than `limit`. */
function growth(slab: SlabCounts, before: ReadonlyMap<string, number>, limit: number): string[] {
  const grown = [...holdings(slab)].filter(
    ([name, objects]) => objects - (before.get(name) ?? 0) > limit,
  );
  return grown.map(([name]) => name);
}

/**
 * Expects that the kernel gives back what it allocates for `rounds` repetitions of the same thing. Others
 * allocate at the same time, and caches round up: less than one object for two rounds is no leak. What
 * is freed later, by RCU or a work queue, has the time to be.
 * @param run does `rounds` repetitions, a hundred at least; called again while it seems to leak.
 */
export function expectNoKernelLeak(rounds: number, run: () => void): void {
  const suspects = withSlabCounts((slab) => leaking(slab, rounds, run));
  expect(suspects, `what grows by ${rounds} rounds, each time`).toEqual([]);
}

/** The caches that grow by each batch. */
function leaking(slab: SlabCounts, rounds: number, run: () => void): string[] {
  let suspects: string[] = [];
  for (const [batch, patience] of PATIENCE_MS.entries()) {
    const before = holdings(slab);
    run();
    let grown: string[] | undefined;
    eventually(() => {
      const now = growth(slab, before, rounds / 2);
      grown = grown?.filter((name) => now.includes(name)) ?? now;
      return grown.length === 0;
    }, patience);
    suspects = batch === 0 ? (grown ?? []) : suspects.filter((name) => grown?.includes(name));
    if (suspects.length === 0) break;
  }
  return suspects;
}
