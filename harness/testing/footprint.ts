import { readdirSync, readlinkSync } from 'node:fs';
import { sys } from '../shim/index.ts';
import { lockedMemory } from '../kernel/memory-accounting.ts';

/** What a test may not leave changed. */
export interface Footprint {
  /** What each open fd of this process refers to. */
  fds: Map<string, string>;
  locked: { VmLck: number; VmPin: number };
}

/** Takes the footprint of this process now. */
export function footprint(): Footprint {
  const fds = new Map<string, string>();
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      fds.set(fd, readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // The directory's own fd is gone by now.
    }
  }
  return { fds, locked: lockedMemory() };
}

/** What is there after and was not before, in words; empty if nothing was left behind. */
export function leftovers(before: Footprint, after: Footprint): string[] {
  const found: string[] = [];
  for (const [fd, target] of after.fds) {
    if (!before.fds.has(fd)) found.push(`fd ${fd} (${target}) is still open`);
  }
  for (const key of ['VmLck', 'VmPin'] as const) {
    const difference = after.locked[key] - before.locked[key];
    if (difference !== 0) {
      found.push(`${key} is ${after.locked[key]} kB, it was ${before.locked[key]} kB`);
    }
  }
  return found;
}

/** Closes what a test left open, so that it costs that test alone and not all that follow. */
export function closeLeftovers(before: Footprint, after: Footprint): void {
  for (const fd of after.fds.keys()) if (!before.fds.has(fd)) sys.close(Number(fd));
}
