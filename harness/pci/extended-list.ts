import { PCI_CFG_SPACE_SIZE } from '../abi/pci-regs.ts';
import { RawConfig } from './raw-config.ts';
import type { PciFunction } from './topology.ts';

/** An extended capability to be put into a device's config space. */
export interface ExtendedCapability {
  at: number;
  id: number;
  /** What follows the header. */
  body?: Uint8Array;
  /** Where it says that the next one is, if not where that is. */
  next?: number;
}

/**
 * Gives a device the list of extended capabilities that a test wants, linked in the given order. It
 * needs a device that has none, for QEMU then lets all of its extended config space be written. VFIO
 * reads the list when the device is opened. Root.
 * @returns what takes the list away.
 */
export function layOutExtended(
  pci: PciFunction,
  capabilities: readonly ExtendedCapability[],
): () => void {
  const hardware = new RawConfig(pci);
  const before = hardware.read(PCI_CFG_SPACE_SIZE, hardware.size - PCI_CFG_SPACE_SIZE);
  for (const [index, capability] of capabilities.entries()) {
    const { at, id, body, next = capabilities[index + 1]?.at ?? 0 } = capability;
    hardware.write32(at, ((next << 20) | (1 << 16) | id) >>> 0);
    if (body) hardware.write(at + 4, body);
  }
  return () => {
    hardware.write(PCI_CFG_SPACE_SIZE, before);
    hardware.close();
  };
}
