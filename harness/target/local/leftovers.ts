import { existsSync } from 'node:fs';
import { UsageError } from '../errors.ts';
import { restorePlan } from './binding.ts';
import { groupsOf, lockGroups } from './group-lock.ts';
import {
  isFromEarlierBoot,
  isOwned,
  removeDrafts,
  storedPlans,
  type Plan,
  type StoredPlan,
} from './plan-store.ts';

/** What was done about a plan that a run has left. */
export interface Leftover {
  plan: Plan;
  /** In words: `put back`. */
  outcome: string;
  /** What could not be put back, in words. */
  problems: string[];
  /** Whether there is still something to be put back. */
  stays: boolean;
}

/** Tells of a file that should hold a plan and does not. */
export function damage(file: string): string {
  return `${file} holds no plan that can be read: put its devices back by hand, then remove it`;
}

/** Plans of runs that are no more: they were killed, or the machine went down under them. */
export function leftoverPlans(folder?: string): Plan[] {
  return storedPlans(folder)
    .map(({ plan }) => plan)
    .filter((plan) => !isOwned(plan));
}

/**
 * Puts back what runs that are no more have left. Root only.
 * @param locked IOMMU groups that this process has locked already; then plans of other groups are left alone
 */
export async function restoreLeftovers(
  folder?: string,
  locked?: readonly number[],
): Promise<Leftover[]> {
  removeDrafts(folder);
  const found: Leftover[] = [];
  for (const stored of storedPlans(folder).filter(({ plan }) => !isOwned(plan)))
    if (
      !locked ||
      isFromEarlierBoot(stored.plan) ||
      groupsOfPlan(stored.plan).some((group) => locked.includes(group))
    )
      found.push(...(await restoreLeftover(stored, locked)));
  return found;
}

function groupsOfPlan({ devices, virtualFunctions = [] }: Plan): number[] {
  return groupsOf(...devices, ...virtualFunctions);
}

/** Nobody else may put the same back, or take what was put back, meanwhile. */
async function restoreLeftover(
  stored: StoredPlan,
  locked: readonly number[] = [],
): Promise<Leftover[]> {
  const { file, plan } = stored;
  if (isFromEarlierBoot(plan))
    return [done(stored, 'the machine has been booted since: nothing was left to put back')];
  try {
    const locks = await lockGroups(groupsOfPlan(plan).filter((group) => !locked.includes(group)));
    try {
      // Whoever had the groups until now has put it back.
      return existsSync(file) ? [done(stored, 'put back')] : [];
    } finally {
      locks.release();
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return [{ plan, outcome: 'not put back', problems: [error.message], stays: true }];
  }
}

function done(stored: StoredPlan, outcome: string): Leftover {
  const { file, plan } = stored;
  const problems = restorePlan(stored);
  const stays = existsSync(file);
  return { plan, outcome: stays ? 'not put back' : outcome, problems, stays };
}
