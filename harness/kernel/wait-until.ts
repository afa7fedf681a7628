import { performance } from 'node:perf_hooks';
import { sys } from '../shim/index.ts';

/**
 * Looks every 2 ms whether something has come true that no fd tells of.
 * @returns whether it did within `timeoutMs`.
 */
export function waitUntil(condition: () => boolean, timeoutMs: number): boolean {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) return condition();
    sys.poll([], 2);
  }
  return true;
}
