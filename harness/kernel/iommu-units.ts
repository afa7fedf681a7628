import { readdirSync } from 'node:fs';

/** The names of the IOMMUs: `dmar0` is one of Intel's, `ivhd0` of AMD's. None without a driver for them. */
export function iommuUnits(): string[] {
  try {
    return readdirSync('/sys/class/iommu');
  } catch {
    return [];
  }
}
