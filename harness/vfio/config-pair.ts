import { RawConfig } from '../pci/raw-config.ts';
import type { PciFunction } from '../pci/topology.ts';
import {
  modelConfigSpace,
  structureOf,
  type ConfigModel,
  type ConfigStructure,
} from './config-model.ts';
import type { Device } from './device.ts';
import type { Region } from './region.ts';

/** Bits of a register that generic tests leave alone, because a change there is an action. */
interface Trigger {
  structure: string;
  offset: number;
  width: 1 | 2 | 4;
  mask: number;
}

const TRIGGERS: readonly Trigger[] = [
  // Decoding and INTx have tests of their own.
  { structure: 'HEADER', offset: 0x04, width: 2, mask: 0xffff },
  // Power states.
  { structure: 'PM', offset: 4, width: 2, mask: 0x0003 },
  // Multiple messages, enable.
  { structure: 'MSI', offset: 2, width: 1, mask: 0xff },
  // Reset; the read request size goes through pcie_set_readrq().
  { structure: 'EXP', offset: 8, width: 2, mask: 0xf000 },
  { structure: 'AF', offset: 4, width: 1, mask: 0x01 },
];

/** Bits that must not be changed in the hardware behind the kernel's back. */
const HARDWARE_TRIGGERS: readonly Trigger[] = [
  ...[0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x30].map((offset) => ({
    structure: 'HEADER',
    offset,
    width: 4 as const,
    mask: 0xffff_ffff,
  })),
  { structure: 'MSIX', offset: 2, width: 2, mask: 0x8000 },
  { structure: 'ext-ATS', offset: 6, width: 2, mask: 0x8000 },
  { structure: 'ext-SRIOV', offset: 8, width: 2, mask: 0xffff },
];

/** VIRTIO_PCI_CAP_PCI_CFG: its data field is a window into a BAR. */
const VIRTIO_VENDOR = 0x1af4;
const VIRTIO_CFG_TYPE = 5;

/** A device's config space from both sides: as VFIO shows it and as the hardware has it. */
export class ConfigPair {
  readonly view: Region;
  readonly hardware: RawConfig;
  readonly model: ConfigModel;
  /** Bits of {@link TRIGGERS}: a generic test writes them as they are. */
  readonly triggers: Buffer;
  /** The same for writes past VFIO. */
  readonly hardwareTriggers: Buffer;

  constructor(device: Device, pci: PciFunction) {
    this.view = device.config;
    this.hardware = new RawConfig(pci);
    const bytes = this.hardware.readAll();
    this.model = modelConfigSpace(bytes);
    this.triggers = this.#mask(TRIGGERS);
    this.#addVirtioWindow(bytes, pci);
    this.hardwareTriggers = this.#mask(HARDWARE_TRIGGERS);
    this.triggers.forEach((bits, at) => (this.hardwareTriggers[at]! |= bits));
  }

  #mask(triggers: readonly Trigger[]): Buffer {
    const mask = Buffer.alloc(this.model.size);
    for (const { structure, offset, width, mask: bits } of triggers) {
      for (const { start } of this.model.structures.filter(({ name }) => name === structure)) {
        mask.writeUIntLE(bits, start + offset, width);
      }
    }
    return mask;
  }

  #addVirtioWindow(bytes: Buffer, pci: PciFunction): void {
    if (pci.vendor !== VIRTIO_VENDOR) return;
    for (const { name, start } of this.model.structures) {
      if (name === 'VNDR' && bytes[start + 3] === VIRTIO_CFG_TYPE) {
        this.triggers.fill(0xff, start + 16, start + 20);
      }
    }
  }

  structure(name: string): ConfigStructure {
    return structureOf(this.model, name);
  }

  close(): void {
    this.hardware.close();
  }
}
