import { restorePlan } from './binding.ts';
import { isFromEarlierBoot, isOwned, removeDrafts, storedPlans, type Plan } from './plan-store.ts';

/** What was done about a plan that a run has left. */
export interface Leftover {
  plan: Plan;
  /** In words: `put back`. */
  outcome: string;
  /** What could not be put back, in words. */
  problems: string[];
}

/** Plans of runs that are no more: they were killed, or the machine went down under them. */
export function leftoverPlans(folder?: string): Plan[] {
  return storedPlans(folder)
    .map(({ plan }) => plan)
    .filter((plan) => !isOwned(plan));
}

/** Puts back what runs that are no more have left. Root only. */
export function restoreLeftovers(folder?: string): Leftover[] {
  removeDrafts(folder);
  return storedPlans(folder).flatMap((stored) => {
    const { plan } = stored;
    if (isOwned(plan)) return [];
    const outcome = isFromEarlierBoot(plan)
      ? 'the machine has been booted since: nothing was left to put back'
      : 'put back';
    const problems = restorePlan(stored);
    return [{ plan, outcome: problems.length === 0 ? outcome : 'not put back', problems }];
  });
}
