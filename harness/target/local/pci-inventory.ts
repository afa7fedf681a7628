import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { linkName, namesIn, readText } from './files.ts';
import { pciName } from './pci-names.ts';

/** A PCI function as sysfs shows it; nothing is opened but world-readable files. */
export interface PciFunction {
  bdf: string;
  /** `8086:10c9` */
  id: string;
  /** What it is, in words. */
  name: string;
  /** Base class and subclass, hexadecimal: `0200`. */
  class: string;
  driver: string | null;
  iommuGroup: number | null;
  /** All others in its IOMMU group, bridges left out. */
  groupMates: string[];
  /** Those that it has now, by its SR-IOV capability. */
  virtualFunctions: string[];
  /** Ways to reset it, as the kernel lists them. */
  reset: string[];
}

/**
 * @param root where sysfs is mounted
 * @returns all PCI functions, by address
 */
export function readPciInventory(root = '/sys'): PciFunction[] {
  const folder = join(root, 'bus/pci/devices');
  if (!existsSync(folder)) return [];
  const functions = namesIn(folder).map((bdf): PciFunction => {
    const path = join(folder, bdf);
    const group = linkName(join(path, 'iommu_group'));
    const text = (name: string): string => readText(join(path, name));
    const id = `${text('vendor').slice(2)}:${text('device').slice(2)}`;
    const classCode = text('class').slice(2, 6);
    return {
      bdf,
      id,
      name: pciName(id, classCode),
      class: classCode,
      driver: linkName(join(path, 'driver')),
      iommuGroup: group === null ? null : Number(group),
      groupMates: [],
      virtualFunctions: namesIn(path)
        .filter((entry) => /^virtfn\d+$/.test(entry))
        .map((entry) => linkName(join(path, entry)) ?? ''),
      reset: text('reset_method').split(' ').filter(Boolean),
    };
  });
  for (const one of functions) {
    if (one.iommuGroup === null) continue;
    one.groupMates = functions
      .filter((other) => other.iommuGroup === one.iommuGroup && other !== one && !isBridge(other))
      .map(({ bdf }) => bdf);
  }
  return functions;
}

/** Bridges stay with the kernel: the machine lives from them. */
export function isBridge({ class: code }: PciFunction): boolean {
  return code.startsWith('06');
}

/** A bridge to another bus; its port driver leaves the group to VFIO. */
export function isPciBridge({ class: code }: PciFunction): boolean {
  return code === '0604';
}
