import { writeFileSync } from 'node:fs';
import type { PciFunction } from './topology.ts';
import { groupMembers } from './topology.ts';

/**
 * Binds a function to `driver` through `driver_override` (Documentation/ABI/testing/sysfs-bus-pci),
 * which names this one function only and leaves every other device of its kind alone.
 * @throws Error if the driver does not take the device.
 */
export function bindTo(pci: PciFunction, driver: string): void {
  if (pci.driver === driver) return;
  unbind(pci);
  writeFileSync(`${pci.path}/driver_override`, driver);
  writeFileSync('/sys/bus/pci/drivers_probe', pci.bdf);
  // drivers_probe reports success even if no driver took the device.
  if (pci.driver !== driver) {
    throw new Error(`${driver} did not bind to ${pci.bdf}; the kernel log may say why`);
  }
}

/** Binds a function anew, also one that is bound to the driver already. @throws as {@link bindTo} */
export function bindAnew(pci: PciFunction, driver: string): void {
  unbind(pci);
  bindTo(pci, driver);
}

/** Leaves the function without a driver. */
export function unbind(pci: PciFunction): void {
  if (pci.driver) writeFileSync(`${pci.path}/driver/unbind`, pci.bdf);
}

/** Forgets the override, so that any driver that knows the device may take it. */
export function clearOverride(pci: PciFunction): void {
  writeFileSync(`${pci.path}/driver_override`, '\n');
}

/** The members of a function's IOMMU group that can have a VFIO driver. */
export function endpointsOfGroup(pci: PciFunction): PciFunction[] {
  if (pci.group === null) throw new Error(`${pci.bdf} is in no IOMMU group: is an IOMMU enabled?`);
  return groupMembers(pci.group).filter((member) => !member.isBridge);
}
