/** A worker that was killed may need this long to let go of what it has, a driver to make its links. */
const PATIENCE_MS = 30_000;
const LOOK_EVERY_MS = 100;

/**
 * Waits while something is in the way. Nothing else of this process runs meanwhile: it may be at
 * its exit.
 * @param obstacle null when there is none
 * @returns what is still in the way when patience is over
 */
export function waitWhile<Obstacle>(
  obstacle: () => Obstacle | null,
  patienceMs = PATIENCE_MS,
): Obstacle | null {
  for (let waited = 0; ; waited += LOOK_EVERY_MS) {
    const found = obstacle();
    if (found === null || waited >= patienceMs) return found;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_EVERY_MS);
  }
}
