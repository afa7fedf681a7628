import { accessSync, constants, readFileSync } from 'node:fs';

const SLABINFO = '/proc/slabinfo';

/** Whether the kernel tells what its slab caches hold, and to us. */
export function slabinfoReadable(): boolean {
  try {
    accessSync(SLABINFO, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Objects in use in the caches from which kmalloc() takes (Documentation/filesystems/proc.rst, slabinfo). Root. */
export function kmallocObjects(): Map<string, number> {
  const lines = readFileSync(SLABINFO, 'utf8').matchAll(/^(kmalloc-\S+)\s+(\d+)/gm);
  return new Map([...lines].map(([, name, active]) => [name!, Number(active)]));
}
