import type { PciFunction } from './topology.ts';

/**
 * `active`, `suspended`, `suspending`, `resuming` or `unsupported` (Documentation/power/runtime_pm.rst).
 * Suspending happens in a work queue: wait for it.
 */
export function runtimeStatus(pci: PciFunction): string {
  return pci.attribute('power/runtime_status');
}
