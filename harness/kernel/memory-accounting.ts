import { readFileSync } from 'node:fs';

/** Locked and pinned memory of a process, in KiB, from /proc/PID/status (Documentation/filesystems/proc.rst). */
export interface LockedMemory {
  VmLck: number;
  VmPin: number;
}

/** Reads {@link LockedMemory} of `pid`, by default of this process. */
export function lockedMemory(pid: number | 'self' = 'self'): LockedMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  return { VmLck: field('VmLck'), VmPin: field('VmPin') };
}
