import { readdirSync } from 'node:fs';

export const IOMMU_UNITS = '/sys/class/iommu';

/** The names of the IOMMUs: `dmar0` is one of Intel's, `ivhd0` of AMD's. None without a driver for them. */
export function iommuUnits(): string[] {
  try {
    return readdirSync(IOMMU_UNITS);
  } catch {
    return [];
  }
}
