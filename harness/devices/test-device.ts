import type { Program } from '../shim/index.ts';

/** What a suite wants of a device that it drives itself; one file a device implements it. */
export interface DmaDevice {
  /** Copies `count` bytes from memory at `iova` into the device. Returns when the device says it is done. */
  readMemory(iova: bigint, count: number): void;
  /** Copies `count` bytes from the device's buffer to memory at `iova`. Returns when the device says it is done. */
  writeMemory(iova: bigint, count: number): void;
  /** Most bytes that one transfer can carry. */
  readonly maxTransfer: number;
}

/** A device that raises an interrupt on request. */
export interface InterruptDevice {
  /** Raises the interrupt: `vector` for MSI-X, ignored by devices with one. */
  raise(vector?: number): void;
  /** Tells the device that the interrupt was seen, so that a level-triggered line falls. */
  acknowledge(): void;

  /** Adds {@link raise} to a program, for loops of many interrupts. */
  raiseIn(program: Program, vector?: number): void;
  /** Adds {@link acknowledge} to a program. */
  acknowledgeIn(program: Program): void;
}
