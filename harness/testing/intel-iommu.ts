import { readdirSync } from 'node:fs';
import type { Requirement } from './requirement.ts';

/** Intel's IOMMU, for promises about what its driver does. */
export const INTEL_IOMMU: Requirement = {
  name: 'Intel IOMMU',
  missing: () => {
    let units: string[] = [];
    try {
      units = readdirSync('/sys/class/iommu');
    } catch {
      // No IOMMU driver at all.
    }
    return units.some((unit) => unit.startsWith('dmar')) ? null : 'the IOMMU is not an Intel one';
  },
};
