import { VFIO_PCI } from './device-state.ts';
import { isBridge, isPciBridge, type PciFunction } from './pci-inventory.ts';

/** vfio-pci and its variants, such as mlx5_vfio_pci. */
const VFIO_DRIVER = /vfio[-_]pci$/;

/** What a run takes with the functions that it tests. */
export interface Taken {
  /** All of their IOMMU groups, themselves included: VFIO gives a group as a whole or not at all. */
  members: PciFunction[];
  /** Virtual functions that are away while their physical function is with vfio-pci. */
  removed: PciFunction[];
  /** Bridges in the groups with a driver that stays, and that keeps VFIO from the group. */
  inTheWay: PciFunction[];
}

export function takenWith(
  functions: readonly PciFunction[],
  inventory: readonly PciFunction[],
): Taken {
  const groups = new Set(functions.map(({ iommuGroup }) => iommuGroup));
  const all = inventory.filter(({ iommuGroup }) => iommuGroup !== null && groups.has(iommuGroup));
  const endpoints = all.filter((one) => !isBridge(one));
  const removed = inventory.filter(({ bdf }) =>
    endpoints.some((one) => one.driver !== VFIO_PCI && one.virtualFunctions.includes(bdf)),
  );
  return {
    members: endpoints.filter((one) => !removed.includes(one)),
    removed,
    inTheWay: all.filter((one) => isBridge(one) && !isPciBridge(one) && !keepsGroupViable(one)),
  };
}

/** Why a function can never be tested as the machine is, and what would help; null if it can. */
export function untestable(
  one: PciFunction,
  { removed, inTheWay }: Taken,
): { what: string; next: string } | null {
  if (isBridge(one))
    return { what: 'it is a bridge, which stays with the kernel', next: 'name what is behind it' };
  if (one.iommuGroup === null)
    return {
      what: 'it is in no IOMMU group',
      next: 'switch the IOMMU on: VT-d or AMD-Vi in the firmware, and `intel_iommu=on` on the kernel command line of Intel machines',
    };
  const bridge = inTheWay.find(({ iommuGroup }) => iommuGroup === one.iommuGroup);
  if (bridge)
    return {
      what: `${bridge.bdf}, a bridge in its IOMMU group, is with ${bridge.driver} and stays there`,
      next: 'take a device of another group, or start the kernel without that driver',
    };
  if (removed.includes(one))
    return {
      what: 'it goes away with its physical function, which is taken, too',
      next: 'name the physical function, or a virtual one that has an IOMMU group of its own',
    };
  return null;
}

/**
 * Whether VFIO gives a group to its user while this function has the driver that it has
 * (drivers/pci/pci-driver.c pci_dma_configure()): none, pci-stub, or one of VFIO's.
 */
export function keepsGroupViable({ driver }: PciFunction): boolean {
  return driver === null || driver === 'pci-stub' || VFIO_DRIVER.test(driver);
}
