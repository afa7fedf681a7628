/** Positions in the fd of a vfio-pci device: the region's index in the high bits, the offset below. */

/** VFIO_PCI_OFFSET_SHIFT in include/linux/vfio_pci_core.h. */
const REGION_SHIFT = 40n;

export function splitPosition(position: bigint): { region: number; offset: number } {
  return {
    region: Number(position >> REGION_SHIFT),
    offset: Number(BigInt.asUintN(Number(REGION_SHIFT), position)),
  };
}
