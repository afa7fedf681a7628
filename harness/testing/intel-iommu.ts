import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEBUGFS, debugfsHas } from '../kernel/debugfs.ts';
import { IOMMU_UNITS, iommuUnits } from '../kernel/iommu-units.ts';
import type { PciFunction } from '../pci/topology.ts';
import type { Requirement } from './requirement.ts';

const intelUnits = (): string[] => iommuUnits().filter((unit) => unit.startsWith('dmar'));

/** Intel's IOMMU, for promises about what its driver does. */
export const INTEL_IOMMU: Requirement = {
  name: 'Intel IOMMU',
  missing: () => (intelUnits().length > 0 ? null : 'the IOMMU is not an Intel one'),
};

const readCapability = (unit: string, register: 'cap' | 'ecap'): bigint =>
  BigInt(`0x${readFileSync(join(IOMMU_UNITS, unit, 'intel-iommu', register), 'utf8').trim()}`);

/** First-stage tables, of the scalable mode, are those of processors. */
const hasFirstStage = (unit: string): boolean =>
  ((readCapability(unit, 'ecap') >> 43n) & 1n) === 1n;

/** Bits of an IOVA for which all of Intel's IOMMUs have page tables (VT-d specification, capability registers). */
export function intelAddressWidth(): number {
  const widths = intelUnits().map((unit) => {
    const cap = readCapability(unit, 'cap');
    const most = Number((cap >> 16n) & 0x3fn) + 1;
    const tables = [1, 2, 3].filter((bit) => (cap >> BigInt(8 + bit)) & 1n);
    const width = Math.min(most, 30 + 9 * Math.max(...tables));
    // The upper half is another one.
    return hasFirstStage(unit) ? width - 1 : width;
  });
  return Math.min(...widths);
}

const SMALL = 4096;
const LARGE = [2 ** 21, 2 ** 30] as const;

/** Sizes of pages, in bytes, that all of Intel's IOMMUs have (VT-d specification, capability registers). */
export function intelPageSizes(): number[] {
  const isLarge = (unit: string, index: number): boolean => {
    const cap = readCapability(unit, 'cap');
    if (hasFirstStage(unit)) return index === 0 || ((cap >> 56n) & 1n) === 1n;
    return ((cap >> BigInt(34 + index)) & 1n) === 1n;
  };
  return [
    SMALL,
    ...LARGE.filter((_size, index) => intelUnits().every((unit) => isLarge(unit, index))),
  ];
}

const tableOf = ({ bdf }: PciFunction): string => `iommu/intel/${bdf}/domain_translation_struct`;

/** The page table of a device's domain in Intel's IOMMU, which debugfs shows to root. */
export const INTEL_PAGE_TABLE: Requirement = {
  name: 'page tables of the Intel IOMMU in debugfs',
  missing: (pci) =>
    pci && debugfsHas(tableOf(pci))
      ? null
      : 'debugfs does not show the page table of the device (CONFIG_INTEL_IOMMU_DEBUGFS)',
};

/**
 * The size in bytes of the page that a device's page table has at an IOVA; null if there is none
 * (drivers/iommu/intel/debugfs.c dump_page_info()). Needs `INTEL_PAGE_TABLE`.
 */
export function pageSizeInIntelTable(pci: PciFunction, iova: bigint): number | null {
  const rows = readFileSync(join(DEBUGFS, tableOf(pci)), 'utf8').matchAll(
    /^0x([0-9a-f]+) \|((?:\t0x[0-9a-f]+)+)$/gm,
  );
  for (const [, frame, entries] of rows) {
    // Of five levels those are shown that there are on the way to the page.
    const size = { 5: SMALL, 4: LARGE[0], 3: LARGE[1] }[entries!.split('\t').length - 1]!;
    const begin = BigInt(`0x${frame}`) * BigInt(SMALL);
    if (iova >= begin && iova < begin + BigInt(size)) return size;
  }
  return null;
}
