import { accessSync, constants, existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from '../errors.ts';
import { isRoot } from './choose-devices.ts';
import { readText } from './files.ts';
import { readMounts } from './mounts.ts';
import { waitWhile } from './waiting.ts';

/** Memory of `--memory` that this process keeps: it stays outside, because it gives the devices back. */
const SUPERVISOR_BYTES = 512 * 2 ** 20;
/** What a worker takes before any test does. */
const WORKER_BYTES = 256 * 2 ** 20;

/** A cgroup and what its processes, and the kernel for them, may take. */
export interface Cgroup {
  folder: string;
  bytes: number;
}

/** How `--memory` bounds a run on this machine. */
export interface MemoryBound {
  /** Bytes of `--memory`. */
  total: number;
  /** What a single test may take. */
  perTest: number;
  /** A cgroup, to be made, that holds the worker to it. */
  cgroup?: Cgroup;
  /** Why there can be none. */
  missing?: string;
}

/**
 * Looks how this machine can hold a run to so many bytes; changes nothing.
 * @throws UsageError if they are too few
 */
export function memoryBound(total: number, proc = '/proc'): MemoryBound {
  const bytes = total - SUPERVISOR_BYTES;
  if (bytes < WORKER_BYTES)
    throw new UsageError(
      `--memory ${total / 2 ** 20}M is too little for a run`,
      `give ${(SUPERVISOR_BYTES + WORKER_BYTES) / 2 ** 20}M`,
    );
  const place = cgroupPlace(proc);
  const sizes = { total, perTest: bytes - WORKER_BYTES };
  return 'missing' in place ? { ...sizes, ...place } : { ...sizes, cgroup: { ...place, bytes } };
}

/** In words, for people. */
export function describeBound({ total, cgroup, missing }: MemoryBound): string {
  const most = `${total / 2 ** 20} MiB`;
  return cgroup
    ? `at most ${most}, by a cgroup`
    : `tests that say they take more than ${most} are skipped; nothing holds the others to it: ${missing}`;
}

/**
 * Where a cgroup can be made that counts memory: beside that of this process, because one that has
 * processes of its own can have no controllers for others below it.
 */
function cgroupPlace(proc: string): { folder: string } | { missing: string } {
  if (!isRoot()) return { missing: 'only root can make a cgroup' };
  const mount = readMounts(proc).find(({ type }) => type === 'cgroup2');
  const own = /^0::(.*)$/m.exec(readText(join(proc, 'self/cgroup')))?.[1];
  if (mount === undefined || own === undefined) return { missing: 'cgroup v2 is not mounted' };
  const above = join(mount.place, dirname(own));
  if (!readText(join(above, 'cgroup.subtree_control')).split(' ').includes('memory'))
    return { missing: `the cgroups in ${above} count no memory` };
  if (!isWritable(above)) return { missing: `no cgroup can be made in ${above}` };
  return { folder: join(above, `vfio-conformance-${process.pid}`) };
}

/** Containers have their cgroups mounted read-only. */
function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Makes the cgroup. When it is full, the kernel kills all of its processes together. */
export function makeCgroup({ folder, bytes }: Cgroup): void {
  mkdirSync(folder);
  writeFileSync(join(folder, 'memory.max'), String(bytes));
  const swap = join(folder, 'memory.swap.max');
  if (existsSync(swap)) writeFileSync(swap, '0');
  writeFileSync(join(folder, 'memory.oom.group'), '1');
}

/**
 * Removes the cgroup if it is there.
 * @returns why it stays, in words
 */
export function removeCgroup(folder: string): string | null {
  return waitWhile(() => {
    try {
      if (existsSync(folder)) rmdirSync(folder);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  });
}

/** The command that starts another one inside the cgroup. */
export function insideCgroup(folder: string, command: string[]): string[] {
  return ['sh', '-c', 'echo $$ > "$0" && exec "$@"', join(folder, 'cgroup.procs'), ...command];
}

/** How often the kernel has killed processes of the cgroup because it was full. */
export function killsForMemory(folder: string | undefined): number {
  if (folder === undefined) return 0;
  return Number(/^oom_kill (\d+)$/m.exec(readText(join(folder, 'memory.events')))?.[1] ?? 0);
}
