import { writeFileSync } from 'node:fs';
import type { Assignment } from '../protocol/events.ts';
import type { Risk } from '../protocol/risks.ts';
import { bindTo, endpointsOfGroup } from '../pci/binding.ts';
import { PciFunction, functionAt } from '../pci/topology.ts';
import { kindOf } from '../devices/catalog.ts';

/** The default role of every test: whichever device the machine offers. */
export const ANY = 'any';

let assignment: Pick<
  Assignment,
  'mode' | 'roles' | 'devices' | 'abilities' | 'allowed' | 'memoryBytes'
> = {
  mode: 'local',
  roles: {},
  devices: [],
  abilities: [],
  allowed: [],
};

/** Tells the tests what machine they run on; called once by the worker. */
export function setMachine(given: typeof assignment): void {
  assignment = given;
  // A test that loads a host driver means one device, not every idle one that the driver knows.
  if (ownsMachine()) writeFileSync('/sys/bus/pci/drivers_autoprobe', '0');
}

/** Whether the tests own the whole machine and may rebind any device. */
export function ownsMachine(): boolean {
  return assignment.mode === 'vm';
}

/** Bytes of memory that a test may take. */
export function memoryLimit(): number {
  return assignment.memoryBytes ?? Infinity;
}

/** Whether the user has consented to this. */
export function isAllowed(risk: Risk): boolean {
  return assignment.allowed.includes(risk);
}

/** Whether the outside can do this for a test: `hmp`, `device_del`, … */
export function hasAbility(name: string): boolean {
  return assignment.abilities.includes(name);
}

/**
 * The function that plays a role: by its place in the virtual machine, by its kind among the
 * devices that a user handed over. Null if there is none.
 */
export function functionInRole(role: string): PciFunction | null {
  if (assignment.mode === 'vm') {
    const steps = assignment.roles[role === ANY ? 'edu' : role];
    return steps ? functionAt(steps) : null;
  }
  const given = assignment.devices.map((bdf) => new PciFunction(bdf));
  if (role === ANY) return given[0] ?? null;
  return given.find((pci) => kindOf(pci) === role) ?? null;
}

/** Binds the function and, on a machine of our own, its whole group to vfio-pci. */
export function bindForTest(pci: PciFunction): void {
  if (!ownsMachine()) return;
  for (const member of endpointsOfGroup(pci)) bindTo(member, 'vfio-pci');
}
