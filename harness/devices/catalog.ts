import { DEVICE_KINDS } from '../protocol/device-kinds.ts';
import type { PciFunction } from '../pci/topology.ts';

/** The kind of a device, or `other`. */
export function kindOf(pci: PciFunction): string {
  const hex = (value: number) => value.toString(16).padStart(4, '0');
  return DEVICE_KINDS[`${hex(pci.vendor)}:${hex(pci.device)}`] ?? 'other';
}
