import { readFileSync } from 'node:fs';

/** Locked and pinned memory of a process, in KiB, from /proc/PID/status (Documentation/filesystems/proc.rst). */
export interface LockedMemory {
  VmLck: number;
  VmPin: number;
}

/** include/uapi/linux/capability.h */
const CAP_IPC_LOCK = 14n;

/** Bytes that this process may pin: RLIMIT_MEMLOCK, or Infinity with the right to exceed it. */
export function pinnableBytes(): number {
  const capabilities = /^CapEff:\s+(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  if ((BigInt(`0x${capabilities ?? '0'}`) >> CAP_IPC_LOCK) & 1n) return Infinity;
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const soft = /^Max locked memory\s+(\S+)/m.exec(limits)?.[1];
  return soft === undefined || soft === 'unlimited' ? Infinity : Number(soft);
}

/** Reads {@link LockedMemory} of `pid`, by default of this process. */
export function lockedMemory(pid: number | 'self' = 'self'): LockedMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  return { VmLck: field('VmLck'), VmPin: field('VmPin') };
}
