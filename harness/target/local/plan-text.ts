import { DEVICE_KINDS } from '../../protocol/device-kinds.ts';
import { readText } from './files.ts';
import { isRoot, type Choice } from './choose-devices.ts';
import { VFIO_PCI } from './device-state.ts';
import { isLockedDown, lacksInterruptRemapping } from './kernel-options.ts';
import { describeBound, type MemoryBound } from './memory-cap.ts';
import type { PciFunction } from './pci-inventory.ts';
import { PLAN_FOLDER } from './plan-store.ts';

const HUGE_PAGES = '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages';

const UNSAFE_INTERRUPTS =
  'Interrupts are not remapped: VFIO_SET_IOMMU fails with EPERM unless vfio_iommu_type1 has allow_unsafe_interrupts=1';

/** What a run is going to do to this machine, for a person to agree to. */
export function describePlan(
  { named, members, removed, forced }: Choice,
  memory?: MemoryBound,
  sys = '/sys',
): string {
  const lines = ['This run takes devices of this machine:'];
  const isLocked = isLockedDown(sys);
  for (const { bdf, name, iommuGroup, driver } of members) {
    lines.push(
      `  ${bdf} ${name}, IOMMU group ${iommuGroup}: ${purposeOf(bdf, named)}`,
      driver === VFIO_PCI || !isRoot()
        ? `    it stays with ${driver ?? 'no driver'}`
        : `    from ${driver ?? 'no driver'} to vfio-pci, and back at the end`,
    );
    if (driver === null && isLocked)
      lines.push('    its command register stays as VFIO leaves it: the kernel is locked down');
  }
  for (const { bdf, name, driver } of removed)
    lines.push(
      `  ${bdf} ${name}: removed with its physical function, and back at the end`,
      `    with ${driver ?? 'no driver'}; MAC address, VLAN and limits given to it are lost`,
    );
  if (forced.length > 0) lines.push('--force takes away:', ...forced.map((what) => `  ${what}`));
  lines.push(
    `Limits: locked memory ${lockedMemoryLimit()}; ${readText(HUGE_PAGES) || '0'} free huge pages of 2 MiB`,
    ...(lacksInterruptRemapping(sys) ? [UNSAFE_INTERRUPTS] : []),
    ...(memory ? [`Memory: ${describeBound(memory)}`] : []),
    `If the run is killed or the machine goes down: \`vfio-conformance restore\` (the plan lies in ${PLAN_FOLDER}).`,
  );
  return lines.join('\n');
}

/** Which tests a device is taken for: see `functionInRole()` in harness/testing/machine.ts. */
function purposeOf(bdf: string, named: readonly PciFunction[]): string {
  const place = named.findIndex((one) => one.bdf === bdf);
  if (place === -1) return 'comes along with its group';
  if (place === 0) return 'tested';
  const kinds = named.map(({ id }) => DEVICE_KINDS[id]);
  const kind = kinds[place];
  return kind !== undefined && kinds.indexOf(kind) === place
    ? `for tests of its kind, ${kind}`
    : 'not tested, another one is given for the same tests';
}

/** The soft limit of RLIMIT_MEMLOCK, in words; root may exceed it. */
function lockedMemoryLimit(): string {
  if (isRoot()) return 'unlimited';
  const soft = /^Max locked memory\s+(\S+)/m.exec(readText('/proc/self/limits'))?.[1];
  return soft === undefined || soft === 'unlimited'
    ? 'unlimited'
    : `${Math.floor(Number(soft) / 2 ** 20)} MiB (tests that pin more are skipped)`;
}
