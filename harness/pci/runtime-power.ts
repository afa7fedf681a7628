import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PciFunction } from './topology.ts';

/**
 * `active`, `suspended`, `suspending`, `resuming` or `unsupported` (Documentation/power/runtime_pm.rst).
 * Suspending happens in a work queue: wait for it.
 */
export function runtimeStatus(pci: PciFunction): string {
  return pci.attribute('power/runtime_status');
}

/**
 * Keeps a function awake (root). Without that, what sysfs writes into the configuration space of one that
 * sleeps is undone when it wakes up. Returns what puts `power/control` back.
 */
export function keepAwake(pci: PciFunction): () => void {
  const control = join(pci.path, 'power/control');
  const before = pci.attribute('power/control');
  writeFileSync(control, 'on');
  return () => writeFileSync(control, before);
}
