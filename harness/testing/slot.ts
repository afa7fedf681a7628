import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { bindTo } from '../pci/binding.ts';
import type { PciFunction } from '../pci/topology.ts';
import { eventually } from './eventually.ts';
import { functionInRole } from './machine.ts';
import { askOutside } from './outside.ts';

const SLOTS = '/sys/bus/pci/slots';

/** Path of the `power` attribute of the slot that a function sits in, or null if it is in none. */
export function slotPower(pci: PciFunction): string | null {
  if (!existsSync(SLOTS)) return null;
  const address = pci.bdf.slice(0, -2);
  const slot = readdirSync(SLOTS).find(
    (name) => readFileSync(`${SLOTS}/${name}/address`, 'utf8').trim() === address,
  );
  return slot !== undefined && existsSync(`${SLOTS}/${slot}/power`)
    ? `${SLOTS}/${slot}/power`
    : null;
}

/** Native hotplug gives the guest five seconds to object; a loaded machine takes longer. */
const PLUG_MS = 60_000;

/** Whether the emulator takes the device: not before the guest has switched the slot off. */
function plugged(role: string): boolean {
  try {
    askOutside('device_add', { role });
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.includes('Duplicate device ID')) return false;
    throw error;
  }
}

/** Binds the function in a role, if it is there and takes a driver yet: sysfs shows it a while before it does. */
export function bindIfBack(role: string): boolean {
  const pci = functionInRole(role);
  if (!pci) return false;
  try {
    bindTo(pci, 'vfio-pci');
    return true;
  } catch {
    return false;
  }
}

/** Puts the device of a role back into its port, waits until the system has found it, and binds it. */
export function plugIn(role: string): void {
  if (functionInRole(role)) return;
  if (!eventually(() => plugged(role), PLUG_MS) || !eventually(() => bindIfBack(role), PLUG_MS)) {
    throw new Error(`the device in the role '${role}' did not come back`);
  }
}
