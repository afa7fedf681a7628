import { DEVICE_KINDS } from '../protocol/device-kinds.ts';
import type { TestMeta } from '../protocol/test.ts';
import { NEEDS } from '../protocol/needs.ts';

/** Needs that no device of this machine meets. */
const VM_ONLY = [NEEDS.ownMachine, NEEDS.outside('')];
const DEVICE = NEEDS.device('');

/**
 * How many tests of each suite a device of this machine could serve: those for any device and those
 * for its kind. Which of them the machine's kernel and rights bear shows when they run.
 * @param id `8086:10c9`
 */
export function suitesFor(
  { id }: { id: string },
  tests: readonly TestMeta[],
): Record<string, number> {
  const kind = DEVICE_KINDS[id];
  const serves = (need: string): boolean =>
    !VM_ONLY.some((prefix) => need.startsWith(prefix)) &&
    (!need.startsWith(DEVICE) || (kind !== undefined && need === NEEDS.device(kind)));
  const counts: Record<string, number> = {};
  for (const { suite, needs } of tests)
    if (needs.every(serves)) counts[suite] = (counts[suite] ?? 0) + 1;
  return counts;
}
