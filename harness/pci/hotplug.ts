import { readFileSync, writeFileSync } from 'node:fs';
import type { PciFunction } from './topology.ts';

/** Takes the function out of the system, as `echo 1 > remove` does; blocks while VFIO users have it open. */
export function removeFunction(pci: PciFunction): void {
  writeFileSync(`${pci.path}/remove`, '1');
}

/** Looks for functions on all buses that the system does not know (yet, or any more). */
export function rescan(): void {
  writeFileSync('/sys/bus/pci/rescan', '1');
}

/** As {@link rescan}, and drivers that know what is found take it, which the tests' machine else prevents. */
export function rescanForDrivers(): void {
  const autoprobe = '/sys/bus/pci/drivers_autoprobe';
  const before = readFileSync(autoprobe, 'utf8').trim();
  writeFileSync(autoprobe, '1');
  try {
    rescan();
  } finally {
    writeFileSync(autoprobe, before);
  }
}
