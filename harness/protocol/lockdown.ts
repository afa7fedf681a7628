/** Where sysfs has the state of kernel_lockdown(7), below its root. */
export const LOCKDOWN = 'kernel/security/lockdown';

/** Whether that file tells of a kernel which keeps even root from writing to config space. */
export function tellsOfLockdown(text: string): boolean {
  return /\[(integrity|confidentiality)\]/.test(text);
}
