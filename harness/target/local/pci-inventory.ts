import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, join } from 'node:path';

/** A PCI function as sysfs shows it; nothing is opened but world-readable files. */
export interface PciFunction {
  bdf: string;
  /** `8086:10c9` */
  id: string;
  /** Base class and subclass, hexadecimal: `0200`. */
  class: string;
  driver: string | null;
  iommuGroup: number | null;
  /** All others in its IOMMU group, bridges left out. */
  groupMates: string[];
  /** Ways to reset it, as the kernel lists them. */
  reset: string[];
  /** What hinders a test of it; empty if it could be handed to `run --device` now. */
  obstacles: string[];
}

/**
 * @param root where sysfs is mounted
 * @returns all PCI functions, by address
 */
export function readPciInventory(root = '/sys'): PciFunction[] {
  const folder = join(root, 'bus/pci/devices');
  if (!existsSync(folder)) return [];
  const functions = readdirSync(folder)
    .sort()
    .map((bdf): PciFunction => {
      const path = join(folder, bdf);
      const group = linkName(join(path, 'iommu_group'));
      const text = (name: string): string => readText(join(path, name));
      return {
        bdf,
        id: `${text('vendor').slice(2)}:${text('device').slice(2)}`,
        class: text('class').slice(2, 6),
        driver: linkName(join(path, 'driver')),
        iommuGroup: group === null ? null : Number(group),
        groupMates: [],
        reset: text('reset_method').split(' ').filter(Boolean),
        obstacles: [],
      };
    });
  for (const one of functions) {
    if (one.iommuGroup === null) continue;
    one.groupMates = functions
      .filter((other) => other.iommuGroup === one.iommuGroup && other !== one && !isBridge(other))
      .map(({ bdf }) => bdf);
  }
  for (const one of functions) one.obstacles = obstaclesOf(one, functions);
  return functions;
}

/** Bridges stay with the kernel; vfio-pci takes no type 1 header. */
function isBridge({ class: code }: PciFunction): boolean {
  return code.startsWith('06');
}

function obstaclesOf(one: PciFunction, all: PciFunction[]): string[] {
  if (isBridge(one)) return ['a bridge'];
  const obstacles: string[] = [];
  if (one.iommuGroup === null)
    obstacles.push('no IOMMU (switch it on in the firmware and by intel_iommu=on)');
  if (one.driver !== 'vfio-pci') {
    obstacles.push(one.driver ? `in the hands of ${one.driver}` : 'not bound to vfio-pci');
  }
  for (const mate of one.groupMates) {
    const driver = all.find(({ bdf }) => bdf === mate)?.driver;
    if (driver && driver !== 'vfio-pci')
      obstacles.push(`${mate} of its group is in the hands of ${driver}`);
  }
  return obstacles;
}

function linkName(path: string): string | null {
  try {
    return basename(readlinkSync(path));
  } catch {
    return null;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}
