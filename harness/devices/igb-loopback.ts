import { KernelError, Program, type DmaMemory } from '../shim/index.ts';
import type { Container } from '../vfio/container.ts';
import { enableDevice } from '../vfio/config-space.ts';
import type { Device } from '../vfio/device.ts';
import type { Mapping } from '../vfio/region.ts';
import { TRANSMIT_RING_SIZE, restartQueue } from './nic-transmit.ts';
import type { DmaDevice } from './test-device.ts';

const STATUS = 0x0008;
const LINK_UP = 1 << 1;
/** Writes a register of the PHY: here its control register, which is told to negotiate anew. */
const MDIC = 0x0020;
const NEGOTIATE = (1 << 26) | (1 << 21) | 0x1200;

const RECEIVE_CONTROL = 0x0100;
/** Enabled, every address, looped back behind the MAC, without checksums. */
const RECEIVE = (1 << 1) | (1 << 3) | (1 << 4) | (1 << 6) | (1 << 15) | (1 << 26);
const TRANSMIT_CONTROL = 0x0400;
const TRANSMIT = 1 << 1;

/** The first queues, and their registers. */
const RECEIVE_QUEUE = 0xc000;
const TRANSMIT_QUEUE = 0xe000;
/** Descriptors with one buffer, of 1 KiB. */
const RECEIVE_DESCRIPTORS = RECEIVE_QUEUE + 0x0c;
const ONE_BUFFER = (1 << 25) | 1;

const DESCRIPTOR = 16;
const RING = TRANSMIT_RING_SIZE;
const DATA = (3 << 20) | (1 << 29);
const LAST = (1 << 24) | (1 << 25) | (1 << 27);
const DONE = 1;

const PAGE = 4096n;
const TIMEOUT_NS = 20_000_000_000n;
/** Of a frame that was sent; of one that could not be read nothing is received. */
const RECEIVE_NS = 100_000_000n;

/**
 * An Intel 82576 that sends to itself (its datasheet, sections 7.1, 7.2 and 8): what it reads from memory as a
 * frame it writes to memory as one received. Its buffer as a copying device lies in memory beside its rings.
 */
export class IgbLoopback implements DmaDevice {
  /** Bytes that rings and buffer need, and their IOVA in the container. */
  static readonly QUEUES_SIZE = 2 * Number(PAGE);
  static readonly QUEUES_IOVA = 0x80000000n;

  readonly bar: Mapping;
  readonly maxTransfer = 512;
  readonly #queues: bigint;

  /**
   * Maps BAR 0 and the queues, and waits for the link.
   * @param queues {@link QUEUES_SIZE} bytes, mapped by the constructor at {@link QUEUES_IOVA} of `container`.
   */
  constructor(device: Device, container: Container, queues: DmaMemory) {
    enableDevice(device);
    this.#queues = queues.address;
    container.mapDma({
      iova: IgbLoopback.QUEUES_IOVA,
      vaddr: queues.address,
      size: BigInt(IgbLoopback.QUEUES_SIZE),
    });
    this.bar = device.region(0).map();
    const program = new Program();
    program.store(32, this.#register(MDIC), NEGOTIATE);
    const link = program.wait(32, this.#register(STATUS), LINK_UP, LINK_UP, TIMEOUT_NS);
    program.store(32, this.#register(RECEIVE_CONTROL), RECEIVE);
    program.store(32, this.#register(TRANSMIT_CONTROL), TRANSMIT);
    program.store(32, this.#register(RECEIVE_DESCRIPTORS), ONE_BUFFER);
    program.run();
    const result = program.result(link);
    if (result < 0) {
      this.unmap();
      throw new KernelError(result, 'waiting for the link of an igb');
    }
  }

  readMemory(iova: bigint, count: number): void {
    this.#move(iova, IgbLoopback.QUEUES_IOVA + PAGE, count);
  }

  writeMemory(iova: bigint, count: number): void {
    this.#move(IgbLoopback.QUEUES_IOVA + PAGE, iova, count);
  }

  /** Stops both queues and unmaps the registers. */
  unmap(): void {
    this.bar.tryStore(32, RECEIVE_CONTROL, 0);
    this.bar.tryStore(32, TRANSMIT_CONTROL, 0);
    this.bar.unmap();
  }

  #register(offset: number): bigint {
    return this.bar.address + BigInt(offset);
  }

  /** Sends what is at one IOVA and receives it at another. What became of it only memory can tell. */
  #move(from: bigint, to: bigint, count: number): void {
    const received = this.#queues + BigInt(RING);
    const frame = partsOf(from, count);
    const program = new Program();
    program.copy(this.#queues, program.data(frameRing(frame, count)), RING);
    program.copy(received, program.data(receiveRing(to)), RING);
    restartQueue(program, this.bar, RECEIVE_QUEUE, IgbLoopback.QUEUES_IOVA + BigInt(RING), 1);
    restartQueue(program, this.bar, TRANSMIT_QUEUE, IgbLoopback.QUEUES_IOVA, frame.length);
    const last = this.#queues + BigInt((frame.length - 1) * DESCRIPTOR);
    const sent = program.wait(32, last + 12n, DONE, DONE, TIMEOUT_NS);
    program.wait(32, received + 8n, DONE, DONE, RECEIVE_NS);
    program.run();
    const result = program.result(sent);
    if (result < 0) throw new KernelError(result, 'waiting for an igb');
  }
}

/** A range of IOVAs cut at the pages: QEMU reads a fragment only where its memory lies in one piece. */
function partsOf(iova: bigint, count: number): { iova: bigint; count: number }[] {
  const first = Math.min(count, Number(PAGE - (iova & (PAGE - 1n))));
  const rest = count - first;
  return [{ iova, count: first }, ...(rest > 0 ? partsOf(iova + BigInt(first), rest) : [])];
}

function frameRing(parts: readonly { iova: bigint; count: number }[], total: number): Buffer {
  const ring = Buffer.alloc(RING);
  parts.forEach(({ iova, count }, index) => {
    const at = index * DESCRIPTOR;
    const isLast = index === parts.length - 1;
    ring.writeBigUInt64LE(iova, at);
    ring.writeUInt32LE((DATA | count | (isLast ? LAST : 0)) >>> 0, at + 8);
    ring.writeUInt32LE((total << 14) >>> 0, at + 12);
  });
  return ring;
}

function receiveRing(iova: bigint): Buffer {
  const ring = Buffer.alloc(RING);
  ring.writeBigUInt64LE(iova, 0);
  return ring;
}
