/**
 * What the user of a VFIO PCI device may do with each register of config space: the permission
 * tables of drivers/vfio/pci/vfio_pci_config.c (`init_pci_cap_*_perm()`, `pci_cap_length[]`,
 * `pci_ext_cap_length[]`) as data. Registers that no entry names are readable, not virtual and not
 * writable. The pointer to the next capability (byte 1), and the first dword of an extended
 * capability, are always virtual.
 */

/** A register with writable or virtual bits. */
export interface RegisterPermission {
  name: string;
  /** Bytes from the start of the header or capability. */
  offset: number;
  /** Bytes. */
  width: 1 | 2 | 4;
  /** Bits that live in the kernel's copy and never reach, nor come from, the hardware. */
  virtual: number;
  /** Bits that the user may change. */
  writable: number;
}

/** How writes to a header or capability are treated. */
export type Access =
  /** As its registers say. */
  | 'table'
  /** Dropped. */
  | 'read-only'
  /** Passed to the hardware as they are. */
  | 'raw';

/** The header or a capability. */
export interface StructurePermission {
  /** Name in `pci_regs.h` without PCI_CAP_ID_ and PCI_EXT_CAP_ID_. */
  name: string;
  id: number;
  access: Access;
  /** Bytes, where the kernel does not compute it from the capability. */
  length?: number;
  registers: readonly RegisterPermission[];
}

const ALL_8 = 0xff;
const ALL_16 = 0xffff;
const ALL_32 = 0xffff_ffff;

function register(
  name: string,
  offset: number,
  width: 1 | 2 | 4,
  virtual: number,
  writable: number,
): RegisterPermission {
  return { name, offset, width, virtual, writable };
}

function readOnly(name: string, id: number, length?: number): StructurePermission {
  return { name, id, access: 'read-only', ...(length !== undefined && { length }), registers: [] };
}

function raw(name: string, id: number): StructurePermission {
  return { name, id, access: 'raw', registers: [] };
}

/** The type 0 header, `init_pci_cap_basic_perm()`. */
export const HEADER_PERMISSIONS: StructurePermission = {
  name: 'HEADER',
  id: 0,
  access: 'table',
  length: 0x40,
  registers: [
    register('VENDOR_ID', 0x00, 2, ALL_16, 0),
    register('DEVICE_ID', 0x02, 2, ALL_16, 0),
    register('COMMAND', 0x04, 2, 0x0400, ALL_16),
    register('STATUS', 0x06, 2, 0x0010, 0),
    register('CACHE_LINE_SIZE', 0x0c, 1, 0, ALL_8),
    register('LATENCY_TIMER', 0x0d, 1, 0, ALL_8),
    register('BIST', 0x0f, 1, 0, ALL_8),
    register('BASE_ADDRESS_0', 0x10, 4, ALL_32, ALL_32),
    register('BASE_ADDRESS_1', 0x14, 4, ALL_32, ALL_32),
    register('BASE_ADDRESS_2', 0x18, 4, ALL_32, ALL_32),
    register('BASE_ADDRESS_3', 0x1c, 4, ALL_32, ALL_32),
    register('BASE_ADDRESS_4', 0x20, 4, ALL_32, ALL_32),
    register('BASE_ADDRESS_5', 0x24, 4, ALL_32, ALL_32),
    register('ROM_ADDRESS', 0x30, 4, ALL_32, ALL_32),
    register('CAPABILITY_LIST', 0x34, 1, ALL_8, 0),
    register('INTERRUPT_LINE', 0x3c, 1, ALL_8, ALL_8),
    register('INTERRUPT_PIN', 0x3d, 1, ALL_8, 0),
  ],
};

/** Address, data and control are the kernel's; mask and pending bits are the device's. */
const MSI_32: readonly RegisterPermission[] = [
  register('FLAGS', 0x02, 1, ALL_8, ALL_8),
  register('ADDRESS_LO', 0x04, 4, ALL_32, ALL_32),
  register('DATA_32', 0x08, 2, ALL_16, ALL_16),
];
const MSI_64: readonly RegisterPermission[] = [
  register('FLAGS', 0x02, 1, ALL_8, ALL_8),
  register('ADDRESS_LO', 0x04, 4, ALL_32, ALL_32),
  register('ADDRESS_HI', 0x08, 4, ALL_32, ALL_32),
  register('DATA_64', 0x0c, 2, ALL_16, ALL_16),
];

/** The registers of an MSI capability with these capability bits, `init_pci_cap_msi_perm()`. */
export function msiRegisters(is64Bit: boolean, canMask: boolean): readonly RegisterPermission[] {
  const base = is64Bit ? MSI_64 : MSI_32;
  if (!canMask) return base;
  const mask = is64Bit ? 0x10 : 0x0c;
  return [
    ...base,
    register('MASK', mask, 4, 0, ALL_32),
    register('PENDING', mask + 4, 4, 0, ALL_32),
  ];
}

/** The capabilities that a user sees; all others are taken out of the list. */
export const CAPABILITY_PERMISSIONS: readonly StructurePermission[] = [
  {
    name: 'PM',
    id: 0x01,
    access: 'table',
    length: 8,
    registers: [
      register('PMC', 2, 2, 0xf800, 0),
      // The state bits are not written but cause a transition.
      register('CTRL', 4, 2, 0x8100, 0x7efc),
      register('PPB_EXTENSIONS', 6, 2, 0, ALL_16),
    ],
  },
  readOnly('AGP', 0x02, 12),
  {
    name: 'VPD',
    id: 0x03,
    access: 'table',
    length: 8,
    registers: [register('ADDR', 2, 2, ALL_16, ALL_16), register('DATA', 4, 4, ALL_32, ALL_32)],
  },
  // Its registers depend on the capability: msiRegisters().
  { name: 'MSI', id: 0x05, access: 'table', registers: [] },
  {
    name: 'PCIX',
    id: 0x07,
    access: 'table',
    registers: [register('CMD', 2, 2, 0, ALL_16), register('ECC_CSR', 8, 4, 0, ALL_32)],
  },
  readOnly('HT', 0x08),
  raw('VNDR', 0x09),
  {
    name: 'EXP',
    id: 0x10,
    access: 'table',
    registers: [
      // All but the phantom functions; FLR, payload and read request size are virtual.
      register('DEVCTL', 0x08, 2, 0xf0e0, 0xfdff),
      // All but ARI.
      register('DEVCTL2', 0x28, 2, 0, 0xffdf),
    ],
  },
  readOnly('MSIX', 0x11, 12),
  readOnly('SATA', 0x12),
  {
    name: 'AF',
    id: 0x13,
    access: 'table',
    length: 6,
    registers: [register('CTRL', 4, 1, 0x01, 0x01)],
  },
];

const UNCORRECTABLE = 0x03ff_f031;
const CORRECTABLE = 0x0000_f1c1;

/** The extended capabilities that a user sees; all others are hidden. */
export const EXTENDED_PERMISSIONS: readonly StructurePermission[] = [
  {
    name: 'ERR',
    id: 0x01,
    access: 'table',
    length: 0x2c,
    registers: [
      register('UNCOR_STATUS', 0x04, 4, 0, UNCORRECTABLE),
      register('UNCOR_MASK', 0x08, 4, 0, UNCORRECTABLE),
      register('UNCOR_SEVER', 0x0c, 4, 0, UNCORRECTABLE),
      register('COR_STATUS', 0x10, 4, 0, CORRECTABLE),
      register('COR_MASK', 0x14, 4, 0, CORRECTABLE),
      register('CAP', 0x18, 4, 0, 0x0000_0140),
    ],
  },
  readOnly('VC', 0x02),
  readOnly('DSN', 0x03, 12),
  {
    name: 'PWR',
    id: 0x04,
    access: 'table',
    length: 0x10,
    registers: [register('DATA', 0x08, 1, 0, ALL_8)],
  },
  readOnly('MFVC', 0x08),
  readOnly('VC9', 0x09),
  raw('VNDR', 0x0b),
  readOnly('ACS', 0x0d),
  readOnly('ARI', 0x0e, 8),
  readOnly('ATS', 0x0f, 8),
  readOnly('SRIOV', 0x10, 0x40),
  readOnly('MCAST', 0x12, 40),
  readOnly('PRI', 0x13, 16),
  readOnly('REBAR', 0x15),
  readOnly('DPA', 0x16),
  readOnly('TPH', 0x17),
  readOnly('LTR', 0x18, 8),
  // Visible since Linux 6.2.
  raw('DVSEC', 0x23),
];
