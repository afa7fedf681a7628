import {
  PCI_CAP_EXP_ENDPOINT_SIZEOF_V1,
  PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1,
  PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_64BIT,
  PCI_MSI_FLAGS_MASKBIT,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
} from '../abi/pci-regs.ts';
import { kernelAtLeast } from '../kernel/version.ts';
import {
  CAPABILITY_PERMISSIONS,
  EXTENDED_PERMISSIONS,
  HEADER_PERMISSIONS,
  msiRegisters,
  type Access,
  type RegisterPermission,
  type StructurePermission,
} from './config-permissions.ts';

/** The header or a capability as a user of VFIO sees it in one device. */
export interface ConfigStructure {
  /** As in config-permissions.ts: `MSI`; extended capabilities begin with `ext-`: `ext-ERR`. */
  name: string;
  /** Offset in config space. */
  start: number;
  /** Bytes that VFIO counts as part of it. */
  length: number;
  access: Access;
  registers: readonly RegisterPermission[];
}

/** What VFIO makes of a device's config space; masks hold one byte for each byte of it. */
export interface ConfigModel {
  size: number;
  structures: ConfigStructure[];
  /** Bits that come from the kernel's copy. */
  virtual: Buffer;
  /** Bits that a user's write may change, in the copy or in the hardware. */
  writable: Buffer;
  /** 0xff where reads and writes go to the hardware untouched: gaps and vendor capabilities. */
  raw: Buffer;
  /** Capabilities that the hardware has and the user does not see, by offset. */
  hidden: { id: number; start: number; extended: boolean }[];
}

/** Bytes of the PCI Express capability that VFIO knows of: it depends on version and type. */
function expressLength(hardware: Buffer, start: number): number {
  const flags = hardware.readUInt16LE(start + 2);
  const integrated = ((flags >> 4) & 0xf) === 9;
  if ((flags & 0xf) === 1) {
    return integrated ? PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V1 : PCI_CAP_EXP_ENDPOINT_SIZEOF_V1;
  }
  if (integrated) return PCI_CAP_EXP_RC_ENDPOINT_SIZEOF_V2;
  // Link Status 2 was left out until a fix of late 2025, which went to stable kernels as well.
  return kernelAtLeast('6.18') ? 0x34 : 0x32;
}

/** `vfio_cap_len()` for what emulated and common devices have. */
function standardLength(hardware: Buffer, rule: StructurePermission, start: number): number {
  if (rule.length !== undefined) return rule.length;
  const control = hardware.readUInt16LE(start + PCI_MSI_FLAGS);
  switch (rule.name) {
    case 'MSI':
      return (
        10 + (control & PCI_MSI_FLAGS_64BIT ? 4 : 0) + (control & PCI_MSI_FLAGS_MASKBIT ? 10 : 0)
      );
    case 'PCIX':
      return hardware.readUInt16LE(start + 2) & 0x3000 ? 24 : 8;
    case 'HT':
      return hardware.readUInt8(start + 3) & 0xe0 ? 24 : 28;
    case 'VNDR':
      return hardware.readUInt8(start + 2);
    case 'SATA':
      return (hardware.readUInt8(start + 4) & 0xf) === 0xf ? 16 : 8;
    default:
      return expressLength(hardware, start);
  }
}

/** `vfio_ext_cap_len()`; null where this project has met no device. */
function extendedLength(hardware: Buffer, rule: StructurePermission, start: number): number | null {
  if (rule.length !== undefined) return rule.length;
  switch (rule.name) {
    case 'VNDR':
    case 'DVSEC':
      return hardware.readUInt32LE(start + 4) >>> 20;
    case 'ACS':
      return hardware.readUInt8(start + 4) & 0x20 ? null : 8;
    default:
      return null;
  }
}

/**
 * Derives what VFIO must make of a config space from its bytes.
 * @param hardware all of it, read past VFIO: sysfs `config`.
 * @throws Error for a capability whose length is not known here.
 */
export function modelConfigSpace(hardware: Buffer): ConfigModel {
  const size = hardware.length;
  const model: ConfigModel = {
    size,
    structures: [],
    virtual: Buffer.alloc(size),
    writable: Buffer.alloc(size),
    raw: Buffer.alloc(size, 0xff).fill(0, 0, PCI_STD_HEADER_SIZEOF),
    hidden: [],
  };
  add(model, HEADER_PERMISSIONS, HEADER_PERMISSIONS.name, 0, PCI_STD_HEADER_SIZEOF);
  addStandard(model, hardware);
  if (model.structures.some(({ name }) => name === 'EXP')) addExtended(model, hardware);
  return model;
}

function addStandard(model: ConfigModel, hardware: Buffer): void {
  if (!(hardware.readUInt16LE(PCI_STATUS) & PCI_STATUS_CAP_LIST)) return;
  let start = hardware.readUInt8(PCI_CAPABILITY_LIST);
  for (let steps = 0; start !== 0 && steps < 48; steps++) {
    const id = hardware.readUInt8(start);
    const rule = CAPABILITY_PERMISSIONS.find((candidate) => candidate.id === id);
    if (rule) {
      const structure = { ...rule };
      if (rule.name === 'MSI') {
        const flags = hardware.readUInt16LE(start + PCI_MSI_FLAGS);
        structure.registers = msiRegisters(
          (flags & PCI_MSI_FLAGS_64BIT) !== 0,
          (flags & PCI_MSI_FLAGS_MASKBIT) !== 0,
        );
      }
      add(model, structure, rule.name, start, standardLength(hardware, rule, start));
      model.virtual[start + 1] = 0xff;
    } else {
      model.hidden.push({ id, start, extended: false });
    }
    start = hardware.readUInt8(start + 1);
  }
}

function addExtended(model: ConfigModel, hardware: Buffer): void {
  let start = PCI_CFG_SPACE_SIZE;
  for (let steps = 0; start >= PCI_CFG_SPACE_SIZE && start < hardware.length; steps++) {
    const header = hardware.readUInt32LE(start);
    if (header === 0 || steps > 960) return;
    const id = header & 0xffff;
    const rule = EXTENDED_PERMISSIONS.find((candidate) => candidate.id === id);
    if (rule && (rule.name !== 'DVSEC' || kernelAtLeast('6.2'))) {
      const length = extendedLength(hardware, rule, start);
      if (length === null) throw new Error(`length of ${rule.name} at ${start} is not known`);
      add(model, rule, `ext-${rule.name}`, start, length);
      model.virtual.fill(0xff, start, start + 4);
    } else {
      model.hidden.push({ id, start, extended: true });
      // The first one stays as an anchor of the list: four bytes, all virtual.
      if (start === PCI_CFG_SPACE_SIZE) {
        model.virtual.fill(0xff, start, start + 4);
        model.raw.fill(0, start, start + 4);
      }
    }
    start = (header >>> 20) & ~3;
  }
}

function add(
  model: ConfigModel,
  rule: StructurePermission,
  name: string,
  start: number,
  length: number,
): void {
  const { access, registers } = rule;
  model.structures.push({ name, start, length, access, registers });
  if (access === 'raw') return;
  model.raw.fill(0, start, start + length);
  for (const { offset, width, virtual, writable } of registers) {
    if (offset >= length) continue;
    const at = start + offset;
    model.virtual.writeUIntLE(virtual, at, width);
    model.writable.writeUIntLE(writable, at, width);
  }
}

/** The structure of a name, e.g. `ext-ERR`. @throws Error if the device has none. */
export function structureOf(model: ConfigModel, name: string): ConfigStructure {
  const found = model.structures.find((structure) => structure.name === name);
  if (!found) {
    const names = model.structures.map((structure) => structure.name).join(', ');
    throw new Error(`the device has no ${name}, it has ${names}`);
  }
  return found;
}

/** The bytes in no header or capability, as `[start, end)` pairs. */
export function gapsOf(model: ConfigModel): [number, number][] {
  const owned = new Uint8Array(model.size);
  for (const { start, length } of model.structures) owned.fill(1, start, start + length);
  for (const { start, extended } of model.hidden) {
    if (extended && start === PCI_CFG_SPACE_SIZE) owned.fill(1, start, start + 4);
  }
  const gaps: [number, number][] = [];
  for (let start = 0; start < model.size;) {
    const end = owned.indexOf(1 - owned[start]!, start);
    const stop = end < 0 ? model.size : end;
    if (owned[start] === 0) gaps.push([start, stop]);
    start = stop;
  }
  return gaps;
}
