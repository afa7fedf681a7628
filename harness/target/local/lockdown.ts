import { join } from 'node:path';
import { readText } from './files.ts';

/** Whether the kernel keeps even root from writing to config space: kernel_lockdown(7). */
export function isLockedDown(sys = '/sys'): boolean {
  return /\[(integrity|confidentiality)\]/.test(readText(join(sys, 'kernel/security/lockdown')));
}
