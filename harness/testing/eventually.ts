import { sys } from '../shim/index.ts';

/** Looks every 10 ms whether `condition` holds; false if it does not within `timeoutMs`. */
export function eventually(condition: () => boolean, timeoutMs = 10_000): boolean {
  const end = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > end) return false;
    sys.poll([], 10);
  }
  return true;
}
