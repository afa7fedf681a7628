import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../errors.ts';
import { readPciInventory, type PciFunction } from './pci-inventory.ts';

/** Where the machine's files are; a test gives others. */
export interface Roots {
  sys: string;
  proc: string;
}

const MACHINE: Roots = { sys: '/sys', proc: '/proc' };

/**
 * Finds the devices that the user handed over and refuses all but those that nobody uses and that
 * are bound to vfio-pci already, with all of their IOMMU group.
 * @param bdfs `0000:3b:00.0`, or `3b:00.0` for domain 0
 * @throws UsageError that says what to do
 */
export function usableDevices(bdfs: string[], roots: Roots = MACHINE): PciFunction[] {
  const inventory = readPciInventory(roots.sys);
  return bdfs.map((given) => {
    const bdf = (/^[0-9a-f]{4,}:/i.test(given) && given.split(':').length === 3 ? '' : '0000:')
      .concat(given)
      .toLowerCase();
    const device = inventory.find((one) => one.bdf === bdf);
    if (!device)
      throw new UsageError(
        `there is no PCI device ${given}`,
        '`vfio-conformance devices` prints those that there are',
      );
    if (device.obstacles.length > 0)
      throw new UsageError(
        `${bdf} cannot be tested: ${device.obstacles.join('; ')}`,
        `bind it and all of its group to vfio-pci, e.g. \`driverctl set-override ${bdf} vfio-pci\``,
      );
    const user = groupUser(device, roots);
    if (user)
      throw new UsageError(
        `IOMMU group ${device.iommuGroup} of ${bdf} is in use by process ${user}`,
        'end that process (a virtual machine, DPDK, …) first',
      );
    return device;
  });
}

/** Who has the group's or the device's node open: `1234 (qemu-system-x86)`. */
function groupUser(device: PciFunction, { sys, proc }: Roots): string | undefined {
  const nodes = new Set([`/dev/vfio/${device.iommuGroup}`]);
  const cdevs = join(sys, 'bus/pci/devices', device.bdf, 'vfio-dev');
  if (existsSync(cdevs))
    for (const name of readdirSync(cdevs)) nodes.add(`/dev/vfio/devices/${name}`);
  for (const pid of readdirSync(proc).filter((name) => /^\d+$/.test(name))) {
    for (const fd of namesIn(join(proc, pid, 'fd')))
      if (nodes.has(linkTarget(join(proc, pid, 'fd', fd))))
        return `${pid} (${readText(join(proc, pid, 'comm'))})`;
  }
  return undefined;
}

/** Processes come and go while they are looked at, and those of others may be closed to us. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkTarget(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '?';
  }
}
