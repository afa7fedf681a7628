import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { IOMMU_UNITS, iommuUnits } from '../kernel/iommu-units.ts';
import type { Requirement } from './requirement.ts';

const intelUnits = (): string[] => iommuUnits().filter((unit) => unit.startsWith('dmar'));

/** Intel's IOMMU, for promises about what its driver does. */
export const INTEL_IOMMU: Requirement = {
  name: 'Intel IOMMU',
  missing: () => (intelUnits().length > 0 ? null : 'the IOMMU is not an Intel one'),
};

/** Bits of an IOVA for which all of Intel's IOMMUs have page tables (VT-d specification, capability registers). */
export function intelAddressWidth(): number {
  const widths = intelUnits().map((unit) => {
    const register = (name: string) =>
      BigInt(`0x${readFileSync(join(IOMMU_UNITS, unit, 'intel-iommu', name), 'utf8').trim()}`);
    const cap = register('cap');
    const most = Number((cap >> 16n) & 0x3fn) + 1;
    const tables = [1, 2, 3].filter((bit) => (cap >> BigInt(8 + bit)) & 1n);
    const width = Math.min(most, 30 + 9 * Math.max(...tables));
    // First-stage tables, of the scalable mode, are those of processors: the upper half is another one.
    const scalable = (register('ecap') >> 43n) & 1n;
    return scalable ? width - 1 : width;
  });
  return Math.min(...widths);
}
