import { existsSync, readFileSync } from 'node:fs';

const LOCKDOWN = '/sys/kernel/security/lockdown';

/** Whether the kernel keeps even root from writing to config space: kernel_lockdown(7). */
export function isLockedDown(): boolean {
  return (
    existsSync(LOCKDOWN) && /\[(integrity|confidentiality)\]/.test(readFileSync(LOCKDOWN, 'utf8'))
  );
}
