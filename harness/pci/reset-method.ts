import { readFileSync, writeFileSync } from 'node:fs';
import type { PciFunction } from './topology.ts';

/** The ways in which the kernel can reset a function, in the order in which it tries them. */
export function resetMethods(pci: PciFunction): string[] {
  // The attribute is absent for functions that cannot be reset at all.
  try {
    return readFileSync(`${pci.path}/reset_method`, 'utf8').split(/\s+/).filter(Boolean);
  } catch {
    return [];
  }
}

/**
 * Restricts the ways to reset a function (Documentation/ABI/testing/sysfs-bus-pci, reset_method).
 * @returns a step that puts the former ones back.
 */
export function setResetMethods(pci: PciFunction, methods: readonly string[]): () => void {
  const before = resetMethods(pci);
  const write = (names: readonly string[]) =>
    writeFileSync(`${pci.path}/reset_method`, names.length > 0 ? names.join(' ') : '\n');
  write(methods);
  return () => {
    try {
      write(before);
    } catch {
      // `bus` of the first function was possible until the kernel found the second one.
      writeFileSync(`${pci.path}/reset_method`, 'default');
    }
  };
}
