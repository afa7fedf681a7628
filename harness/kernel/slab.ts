import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { isAccessible } from './access.ts';

const SLABINFO = '/proc/slabinfo';
const CACHES = '/sys/kernel/slab';
const CHARGED = 'kmalloc-cg-';

/** Whether the kernel tells what its slab caches hold, and to us. */
export function slabinfoReadable(): boolean {
  return isAccessible(SLABINFO, constants.R_OK);
}

/**
 * Caches from which kmalloc() takes, memdup_user() with its kin, which may have caches of its own
 * (CONFIG_SLAB_BUCKETS), and those of what VFIO holds besides: processes, open files, the inode of each device,
 * nodes of its xarrays.
 */
const CACHE =
  /^(?:kmalloc-|memdup_user-|(?:mm_struct|task_struct|filp|inode_cache|radix_tree_node)$)/;

/** Its memory comes from a cache with few objects in a slab; of the smallest, one slab holds hundreds. */
const SHRINK = '1'.padEnd(2500);
const READINGS = 3;

/** Counts objects in use in each {@link CACHE} (Documentation/filesystems/proc.rst, slabinfo). Root. */
export class SlabCounts {
  /** Open all the time: opening a file of sysfs takes objects itself, and they go late. */
  readonly #reserves: readonly number[];

  constructor() {
    const caches = existsSync(CACHES) ? readdirSync(CACHES) : [];
    this.#reserves = caches
      .filter((name) => CACHE.test(name))
      .map((name) => openSync(`${CACHES}/${name}/shrink`, 'w'));
  }

  /**
   * By cache. A slab that a processor takes objects from counts as in use as a whole, so what is counted is
   * never too little: the least of some readings is nearest.
   */
  objectsInUse(): Map<string, number> {
    const least = new Map<string, number>();
    for (let reading = 0; reading < READINGS; reading++)
      for (const [name, objects] of this.#read())
        least.set(name, Math.min(objects, least.get(name) ?? Infinity));
    return least;
  }

  #read(): (readonly [string, number])[] {
    for (const reserve of this.#reserves) writeSync(reserve, SHRINK, 0);
    const lines = readFileSync(SLABINFO, 'utf8').matchAll(/^(\S+)\s+(\d+)/gm);
    const all = [...lines].map(([, name, active]) => [name!, Number(active)] as const);
    return all.filter(([name]) => CACHE.test(name));
  }

  close(): void {
    for (const reserve of this.#reserves) closeSync(reserve);
  }
}

/** Gives a body the means to count, for as long as it runs. */
export function withSlabCounts<T>(body: (slab: SlabCounts) => T): T {
  const slab = new SlabCounts();
  try {
    return body(slab);
  } finally {
    slab.close();
  }
}

/** The caches of kmalloc() for what is charged to control groups; none without CONFIG_MEMCG. */
export function chargedCaches(): string[] {
  if (!existsSync(CACHES)) return [];
  return readdirSync(CACHES).filter((name) => name.startsWith(CHARGED));
}

/**
 * Of all objects in use those, by cache, that kmalloc() has charged to the control group of whoever made it
 * allocate (GFP_KERNEL_ACCOUNT).
 * @param least bytes that the caches' objects have at least
 */
export function chargedObjects(
  inUse: ReadonlyMap<string, number>,
  least: number,
): Map<string, number> {
  return new Map(
    [...inUse].filter(([name]) => name.startsWith(CHARGED) && objectSize(name) >= least),
  );
}

/** Bytes of an object of `kmalloc-cg-192`, `kmalloc-cg-1k`. */
function objectSize(cache: string): number {
  const size = cache.slice(CHARGED.length);
  return parseInt(size) * (size.endsWith('k') ? 1024 : 1);
}

/**
 * Pages of which nobody gives an account: neither free, nor of a process, a file or a slab. This is
 * where pages are that were asked for and forgotten. Root.
 */
export function unaccountedPages(): number {
  // Each processor keeps what it counted last to itself; this collects it.
  readFileSync('/proc/sys/vm/stat_refresh');
  const meminfo = readFileSync('/proc/meminfo', 'utf8');
  const pages = (name: string) =>
    Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(meminfo)?.[1] ?? 0) / 4;
  const known = [
    'MemFree',
    'Buffers',
    'Cached',
    'SwapCached',
    'AnonPages',
    'Slab',
    'KernelStack',
    'PageTables',
    'SecPageTables',
    'Percpu',
  ];
  // Each processor has free pages of its own at hand, which MemFree does not know of.
  const atHand = readFileSync('/proc/zoneinfo', 'utf8').matchAll(/^ +count: +(\d+)$/gm);
  const free = [...atHand].reduce((sum, [, count]) => sum + Number(count), 0);
  return pages('MemTotal') - free - known.reduce((sum, name) => sum + pages(name), 0);
}
