import {
  PCI_CAP_ID_MSIX,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_QSIZE,
  PCI_MSIX_TABLE,
  PCI_MSIX_TABLE_BIR,
  PCI_MSIX_TABLE_OFFSET,
} from '../abi/pci-regs.ts';
import { findCapability } from './config-space.ts';
import type { Device } from './device.ts';

/** Bytes of one vector's entry (PCI Express 5.0, 7.7.2). */
export const MSIX_ENTRY_SIZE = 16;

/** Where the vectors of a device lie. */
export interface MsixTable {
  /** Offset of the capability in config space. */
  capability: number;
  /** Index of the region. */
  bar: number;
  /** Bytes within the region. */
  offset: number;
  size: number;
}

/** The table of a device that has MSI-X, from its capability. */
export function msixTable({ config }: Device): MsixTable {
  const capability = findCapability(config, PCI_CAP_ID_MSIX)!;
  const vectors = (config.read16(capability + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1;
  const table = config.read32(capability + PCI_MSIX_TABLE);
  return {
    capability,
    bar: table & PCI_MSIX_TABLE_BIR,
    offset: (table & PCI_MSIX_TABLE_OFFSET) >>> 0,
    size: vectors * MSIX_ENTRY_SIZE,
  };
}
