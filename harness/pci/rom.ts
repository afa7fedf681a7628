import { readFileSync, writeFileSync } from 'node:fs';
import type { PciFunction } from './topology.ts';

/**
 * The expansion ROM as sysfs shows it (Documentation/ABI/testing/sysfs-bus-pci, rom): the images that the
 * kernel finds valid. Null if there are none. Memory decoding of the function must be on.
 */
export function readRom(pci: PciFunction): Buffer | null {
  const path = `${pci.path}/rom`;
  try {
    writeFileSync(path, '1');
    try {
      const content = readFileSync(path);
      return content.length > 0 ? content : null;
    } finally {
      writeFileSync(path, '0');
    }
  } catch {
    return null;
  }
}
