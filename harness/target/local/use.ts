import { join } from 'node:path';
import { blockUses } from './use-block.ts';
import { consoleUses } from './use-console.ts';
import { networkUses } from './use-network.ts';
import { nodeUses, readOpenNodes, type OpenNodes } from './use-nodes.ts';
import type { PciFunction } from './pci-inventory.ts';

/** Where the machine's files are; a test gives others. */
export interface Roots {
  sys: string;
  proc: string;
}

export const MACHINE: Roots = { sys: '/sys', proc: '/proc' };

/** Something that uses a device now. */
export interface Use {
  /** In words: `vda1 is mounted at /mnt`. */
  what: string;
  /** Whether `--force` may take it away: never where data or this very login could be lost. */
  forcible: boolean;
}

/** All that uses each of the functions now, as far as this user may see, by address. */
export function readUses(
  functions: readonly PciFunction[],
  roots: Roots = MACHINE,
): Map<string, Use[]> {
  const open = readOpenNodes(roots.proc);
  return new Map(functions.map((one) => [one.bdf, usesOf(one, open, roots)]));
}

function usesOf(one: PciFunction, open: OpenNodes, roots: Roots): Use[] {
  const path = join(roots.sys, 'bus/pci/devices', one.bdf);
  return [
    ...blockUses(path, roots),
    ...networkUses(one, path, roots),
    ...consoleUses(path, roots),
    ...nodeUses(one, path, open, roots),
  ];
}
