import { existsSync, readFileSync } from 'node:fs';
import { ANY, functionInRole, hasAbility, ownsMachine } from './machine.ts';
import type { Requirement } from './requirement.ts';

/** A device in a role. */
export function deviceRole(role: string): Requirement {
  return {
    name: role === ANY ? 'a PCI device for VFIO' : `device ${role}`,
    missing: () =>
      functionInRole(role)
        ? null
        : `no device ${role === ANY ? 'was given' : `in the role '${role}'`}`,
  };
}

/** The right to rebind any device: only on a machine of the tests' own. */
export const OWN_MACHINE: Requirement = {
  name: 'a machine of its own (VM)',
  missing: () => (ownsMachine() ? null : 'it rebinds devices: runs in the VM only'),
};

/** Something that only the outside of the guest can do. */
export function ability(name: string): Requirement {
  return {
    name: `outside help: ${name}`,
    missing: () => (hasAbility(name) ? null : `the target cannot do '${name}' from outside`),
  };
}

/** Free huge pages of a size. */
export function hugePages(sizeKiB: number, count: number): Requirement {
  const free = `/sys/kernel/mm/hugepages/hugepages-${sizeKiB}kB/free_hugepages`;
  return {
    name: `${count} free huge pages of ${sizeKiB} KiB`,
    missing: () => {
      const found = existsSync(free) ? Number(readFileSync(free, 'utf8')) : 0;
      return found >= count ? null : `${found} of ${count} huge pages of ${sizeKiB} KiB are free`;
    },
  };
}

/** Root, for tests that change what only root may. */
export const ROOT: Requirement = {
  name: 'root',
  missing: () => (process.getuid?.() === 0 ? null : 'it needs root'),
};
