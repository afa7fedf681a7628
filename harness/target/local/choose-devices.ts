import { accessSync, constants } from 'node:fs';
import { UsageError } from '../errors.ts';
import { VFIO_PCI } from './device-state.ts';
import { readPciInventory, type PciFunction } from './pci-inventory.ts';
import { readUses } from './read-uses.ts';
import { keepsGroupViable, takenWith, untestable, type Taken } from './taken-with.ts';
import { MACHINE, type Roots, type Use } from './use.ts';
import { groupNode } from './use-nodes.ts';

/** Devices that may be taken, with what has to come along. */
export interface Choice extends Pick<Taken, 'members' | 'removed'> {
  /** Those that the user named. */
  named: PciFunction[];
  /** Uses that are taken away because of `--force`, in words. */
  forced: string[];
}

/**
 * Finds the devices that the user named and refuses them, naming the reason, if they or others of
 * their IOMMU groups are in use.
 * @param bdfs `0000:3b:00.0`, or `3b:00.0` for domain 0
 * @param force take away uses with which no data can be lost
 * @throws UsageError that says what to do
 */
export function chooseDevices(bdfs: string[], force: boolean, roots: Roots = MACHINE): Choice {
  const inventory = readPciInventory(roots.sys);
  const named = [...new Set(bdfs.map(fullAddress))].map((bdf) => {
    const one = inventory.find((other) => other.bdf === bdf);
    if (!one)
      throw new UsageError(
        `there is no PCI device ${bdf}`,
        '`vfio-conformance devices` prints those that there are',
      );
    return one;
  });
  const taken = takenWith(named, inventory);
  for (const one of named) {
    const reason = untestable(one, taken);
    if (reason !== null)
      throw new UsageError(`${one.bdf} cannot be tested: ${reason.what}`, reason.next);
  }
  const { members, removed } = taken;
  const uses = [...readUses([...members, ...removed], roots)].flatMap(([bdf, found]) =>
    found.map((use) => ({ ...use, what: `${bdf}: ${use.what}` })),
  );
  refuseUsed(uses, force);
  return { named, members, removed, forced: uses.map(({ what }) => what) };
}

/**
 * Whether this user may do what taking the devices needs.
 * @throws UsageError that says which right is missing
 */
export function checkPrivileges({ named, members }: Pick<Choice, 'named' | 'members'>): void {
  if (isRoot()) return;
  const foreign = members.filter((one) =>
    named.includes(one) ? one.driver !== VFIO_PCI : !keepsGroupViable(one),
  );
  if (foreign.length > 0)
    throw new UsageError(
      `only root can give ${foreign.map(({ bdf }) => bdf).join(', ')} to vfio-pci`,
      'run as root; or let root bind all of the group to vfio-pci and give you its node in /dev/vfio',
    );
  for (const node of ['/dev/vfio/vfio', ...members.map(({ iommuGroup }) => groupNode(iommuGroup!))])
    try {
      accessSync(node, constants.R_OK | constants.W_OK);
    } catch {
      throw new UsageError(
        `this user may not use ${node}`,
        `run as root, or let root \`chown ${process.getuid?.()} ${node}\``,
      );
    }
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function refuseUsed(uses: readonly Use[], force: boolean): void {
  const fixed = uses.filter(({ forcible }) => !forcible);
  const standing = force ? fixed : uses;
  if (standing.length === 0) return;
  throw new UsageError(
    `in use:\n${standing.map(({ what }) => `    ${what}`).join('\n')}`,
    fixed.length > 0
      ? 'end that use first; --force does not help where data or this login could be lost'
      : 'end that use first, or take it away with --force: no data can be lost',
  );
}

/** `0000:3b:00.0` for `3b:00.0` and `3B:00.0`. */
function fullAddress(given: string): string {
  const parts = given.toLowerCase().split(':');
  return parts.length === 3 ? parts.join(':') : `0000:${parts.join(':')}`;
}
