import { join } from 'node:path';
import { blockUses } from './use-block.ts';
import { consoleUses } from './use-console.ts';
import { networkUses } from './use-network.ts';
import { nodeUses, readOpenNodes, type OpenNodes } from './use-nodes.ts';
import type { PciFunction } from './pci-inventory.ts';
import { MACHINE, type Roots, type Use } from './use.ts';

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
