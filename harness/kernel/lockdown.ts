import { existsSync, readFileSync } from 'node:fs';
import { LOCKDOWN, tellsOfLockdown } from '../protocol/lockdown.ts';

/** Whether the kernel keeps even root from writing to config space. */
export function isLockedDown(): boolean {
  const path = `/sys/${LOCKDOWN}`;
  return existsSync(path) && tellsOfLockdown(readFileSync(path, 'utf8'));
}
