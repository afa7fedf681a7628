import { Program } from '../shim/index.ts';
import type { Mapping } from '../vfio/region.ts';

const TCTL = 0x0400;
const TCTL_ENABLE = 1 << 1;
const QUEUE_ENABLED = 1 << 25;
/** Bytes of a descriptor, and descriptors of a ring: the smallest ring there is. */
const DESCRIPTOR = 16;
const RING = 8;
const REPORT_STATUS = 1 << 27;
const END_OF_PACKET = 1 << 24;
const TIMEOUT_NS = 20_000_000_000n;

/** Where the first transmit queue has its registers. */
const QUEUES = { igb: 0xe000, e1000e: 0x3800 };

/** Size of what {@link transmitFrom} makes the device read, in bytes. */
export const TRANSMIT_RING_SIZE = RING * DESCRIPTOR;

/** A ring whose first descriptor sends nothing but wants to be marked when it is done. */
export function transmitRing(buffer: bigint): Buffer {
  const ring = Buffer.alloc(TRANSMIT_RING_SIZE);
  ring.writeBigUInt64LE(buffer, 0);
  ring.writeUInt32LE((REPORT_STATUS | END_OF_PACKET | 64) >>> 0, 8);
  return ring;
}

/** Whether the device marked the first descriptor of the ring as done. */
export function isTransmitted(ring: Buffer): boolean {
  return (ring.readUInt32LE(12) & 1) !== 0;
}

/**
 * Makes an Intel network card read the descriptor at `iova` by DMA: transmission of one packet from
 * the ring there (82576 and 82574 datasheets, transmit descriptor registers).
 */
export function transmitFrom(kind: keyof typeof QUEUES, bar: Mapping, iova: bigint): void {
  const program = new Program();
  program.store(32, bar.address + BigInt(TCTL), TCTL_ENABLE);
  restartQueue(program, bar, QUEUES[kind], iova, 1);
  program.run();
}

/** Gives a queue a ring at `iova`, of which the first `filled` descriptors are for the device. */
export function restartQueue(
  program: Program,
  bar: Mapping,
  queue: number,
  iova: bigint,
  filled: number,
): void {
  const set = (register: number, value: number) =>
    program.store(32, bar.address + BigInt(queue + register), value);
  set(0x28, 0);
  set(0, Number(iova & 0xffff_ffffn));
  set(0x04, Number(iova >> 32n));
  set(0x08, TRANSMIT_RING_SIZE);
  set(0x10, 0);
  set(0x18, 0);
  set(0x28, QUEUE_ENABLED);
  const control = bar.address + BigInt(queue + 0x28);
  program.wait(32, control, QUEUE_ENABLED, QUEUE_ENABLED, TIMEOUT_NS);
  set(0x18, filled);
}
