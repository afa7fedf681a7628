import { readText } from './files.ts';
import { isRoot, type Choice } from './choose-devices.ts';
import { VFIO_PCI } from './device-state.ts';
import { describeBound, type MemoryBound } from './memory-cap.ts';
import { PLAN_FOLDER } from './plan-store.ts';

const HUGE_PAGES = '/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages';

/** What a run is going to do to this machine, for a person to agree to. */
export function describePlan({ named, members, forced }: Choice, memory?: MemoryBound): string {
  const lines = ['This run takes devices of this machine:'];
  for (const { bdf, name, iommuGroup, driver } of members) {
    const isNamed = named.some((one) => one.bdf === bdf);
    lines.push(
      `  ${bdf} ${name}, IOMMU group ${iommuGroup}: ${isNamed ? 'tested' : 'comes along with its group'}`,
      driver === VFIO_PCI
        ? '    it is with vfio-pci and stays there'
        : `    from ${driver ?? 'no driver'} to vfio-pci, and back at the end`,
    );
  }
  if (forced.length > 0) lines.push('--force takes away:', ...forced.map((what) => `  ${what}`));
  lines.push(
    `Limits: locked memory ${lockedMemoryLimit()}; ${readText(HUGE_PAGES) || '0'} free huge pages of 2 MiB`,
    ...(memory ? [`Memory: ${describeBound(memory)}`] : []),
    `If the run is killed or the machine goes down: \`vfio-conformance restore\` (the plan lies in ${PLAN_FOLDER}).`,
  );
  return lines.join('\n');
}

/** The soft limit of RLIMIT_MEMLOCK, in words; root may exceed it. */
function lockedMemoryLimit(): string {
  if (isRoot()) return 'unlimited';
  const soft = /^Max locked memory\s+(\S+)/m.exec(readText('/proc/self/limits'))?.[1];
  return soft === undefined || soft === 'unlimited'
    ? 'unlimited'
    : `${Math.floor(Number(soft) / 2 ** 20)} MiB (tests that pin more are skipped)`;
}
