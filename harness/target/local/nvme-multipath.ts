import { join } from 'node:path';
import { classDevicesBelow, namesIn } from './files.ts';

/**
 * NVMe subsystems to which controllers of a function lead: disks with several paths hang from them
 * and not from a controller.
 * @param path of the function, in sysfs
 * @returns their folders in sysfs
 */
export function multipathSubsystems(path: string, sys: string): string[] {
  const controllers = new Set(classDevicesBelow(path, 'nvme', sys));
  const folder = join(sys, 'class/nvme-subsystem');
  return namesIn(folder)
    .map((name) => join(folder, name))
    .filter((subsystem) => namesIn(subsystem).some((child) => controllers.has(child)));
}
