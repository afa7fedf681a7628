/** Registers that hold what is written to them and have no effect as long as nobody starts the device. */
export interface ScratchRegisters {
  /** Index of the memory region. */
  region: number;
  /** Offset of the first register of 32 bits. */
  offset: number;
  /** Bits of the first register that can be written. */
  mask: number;
  /** Whether every reset of the function but `pm` clears it in QEMU's emulation. */
  cleared: boolean;
}

/** Multicast table array of Intel's network controllers (82574 and 82576 datasheets). */
const MULTICAST_TABLE: ScratchRegisters = {
  region: 0,
  offset: 0x5200,
  mask: 0xffff_ffff,
  cleared: true,
};
/** Source address of edu's DMA engine (docs/specs/edu.rst). */
const EDU_DMA_SOURCE: ScratchRegisters = {
  region: 0,
  offset: 0x80,
  mask: 0xffff_ffff,
  cleared: false,
};

const SCRATCH: Readonly<Record<string, ScratchRegisters>> = {
  edu: EDU_DMA_SOURCE,
  'edu-rp': EDU_DMA_SOURCE,
  'edu-pair-a': EDU_DMA_SOURCE,
  'edu-pair-b': EDU_DMA_SOURCE,
  'switch-edu-a': EDU_DMA_SOURCE,
  'switch-edu-b': EDU_DMA_SOURCE,
  e1000e: MULTICAST_TABLE,
  igb: MULTICAST_TABLE,
  'igb-multi-0': MULTICAST_TABLE,
  'igb-multi-1': MULTICAST_TABLE,
  'mf-a': MULTICAST_TABLE,
  'mf-b': MULTICAST_TABLE,
  'bridge-child-b': MULTICAST_TABLE,
  // Admin submission queue base address (NVMe base specification, ASQ): the low 12 bits are reserved.
  nvme: { region: 0, offset: 0x28, mask: 0xffff_f000, cleared: false },
  // Shared memory: every byte of it.
  ivshmem: { region: 2, offset: 0, mask: 0xffff_ffff, cleared: false },
};

/** The scratch registers of the device in a role. @throws Error if none are known. */
export function scratchRegisters(role: string): ScratchRegisters {
  const registers = SCRATCH[role];
  if (!registers) throw new Error(`no scratch registers are known for the role '${role}'`);
  return registers;
}

/** A register that keeps what is written to it until the device is reset. */
export interface ResetWitness {
  /** Index of the memory region. */
  region: number;
  offset: number;
  /** Bytes. */
  width: 1 | 4;
  /** Can be written, and is not the first value. */
  value: number;
}

const FIRST_OF_TABLE: ResetWitness = { region: 0, offset: 0x5200, width: 4, value: 0x1234_5678 };
/** Device status in the common configuration (virtio 1.2, 4.1.4.3). */
const VIRTIO_STATUS: ResetWitness = { region: 4, offset: 0x14, width: 1, value: 0x03 };

const WITNESSES: Readonly<Record<string, ResetWitness>> = {
  e1000e: FIRST_OF_TABLE,
  igb: FIRST_OF_TABLE,
  // Interrupt mask set.
  nvme: { region: 0, offset: 0x0c, width: 4, value: 0x0000_0001 },
  'virtio-net': VIRTIO_STATUS,
  'virtio-rng': VIRTIO_STATUS,
};

/** What tells that the device in a role was reset. @throws Error if nothing is known to. */
export function resetWitness(role: string): ResetWitness {
  const witness = WITNESSES[role];
  if (!witness) throw new Error(`no reset witness is known for the role '${role}'`);
  return witness;
}
