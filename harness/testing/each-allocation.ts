import { armAllocationFailures, failNthAllocation } from '../kernel/fault-injection.ts';
import type { Program, Ref } from '../shim/index.ts';
import type { TestContext } from './context.ts';

/** No call allocates so often: the test would not end. */
const MOST_ALLOCATIONS = 500;

/**
 * Makes a call again and again: its first allocation fails, then its second, until it needs no more.
 * Needs `FAILSLAB`.
 * @param after looks at what the call left, and undoes it if it succeeded
 * @returns how often the call was refused
 */
export function withEachFailing(
  { defer }: Pick<TestContext, 'defer'>,
  call: (program: Program) => Ref,
  after: (result: number) => void,
): number {
  defer(armAllocationFailures());
  let refused = 0;
  for (let nth = 1; nth < MOST_ALLOCATIONS; nth++) {
    const { result, hasFailed } = failNthAllocation(nth, call);
    after(result);
    if (result < 0) refused++;
    if (!hasFailed) return refused;
  }
  throw new Error(`more than ${MOST_ALLOCATIONS} allocations in a call`);
}
