import { iommuUnits } from '../kernel/iommu-units.ts';
import type { Requirement } from './requirement.ts';

/** Intel's IOMMU, for promises about what its driver does. */
export const INTEL_IOMMU: Requirement = {
  name: 'Intel IOMMU',
  missing: () =>
    iommuUnits().some((unit) => unit.startsWith('dmar')) ? null : 'the IOMMU is not an Intel one',
};
