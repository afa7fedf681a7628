import type { PciFunction } from './topology.ts';
import { waitUntil } from '../kernel/wait-until.ts';

/** `active`, `suspended`, `suspending`, `resuming` or `unsupported` (Documentation/power/runtime_pm.rst). */
export function runtimeStatus(pci: PciFunction): string {
  return pci.attribute('power/runtime_status');
}

/**
 * Waits until runtime power management has reached a state: suspending happens in a work queue.
 * @returns the state that it is in at the end.
 */
export function waitForRuntimeStatus(pci: PciFunction, wanted: string, timeoutMs = 10_000): string {
  waitUntil(() => runtimeStatus(pci) === wanted, timeoutMs);
  return runtimeStatus(pci);
}
