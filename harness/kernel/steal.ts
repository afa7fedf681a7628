import { readFileSync } from 'node:fs';

/** USER_HZ of every architecture that this project runs on. */
const TICKS_PER_SECOND = 100;

/** Time that the hypervisor took from this machine since its boot, in milliseconds (proc_stat(5)). */
export function stealMs(): number {
  const steal = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/)[8];
  return (Number(steal ?? 0) * 1000) / TICKS_PER_SECOND;
}
