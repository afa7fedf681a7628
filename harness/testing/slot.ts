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

/** Asks the emulator for something that it refuses for the time being, which it says in these words; whether it agreed. */
function agreed(action: string, role: string, notYet: string): boolean {
  try {
    askOutside(action, { role });
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.includes(notYet)) return false;
    throw error;
  }
}

/** Presses the button of a slot: the system is asked to let the device go. Needs `ability('device_del')`. */
export function pressButton(role: string): void {
  // While the indicator blinks the system switches the slot on or off (hw/pci/pcie.c, QEMU).
  if (!eventually(() => agreed('device_del', role, 'guest is busy'), PLUG_MS))
    throw new Error(`the slot of the device in the role '${role}' is busy for too long`);
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
  // Not before the guest has switched the slot off.
  const plugged = () => agreed('device_add', role, 'Duplicate device ID');
  if (!eventually(plugged, PLUG_MS) || !eventually(() => bindIfBack(role), PLUG_MS)) {
    throw new Error(`the device in the role '${role}' did not come back`);
  }
}
