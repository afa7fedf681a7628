import { KernelError, Program, type DmaMemory } from '../shim/index.ts';
import type { Container } from '../vfio/container.ts';
import { enableDevice } from '../vfio/config-space.ts';
import type { Device } from '../vfio/device.ts';
import type { Mapping } from '../vfio/region.ts';
import type { DmaDevice } from './test-device.ts';

const CONTROLLER_CONFIGURATION = 0x14;
const CONTROLLER_STATUS = 0x1c;
const ADMIN_QUEUE_ATTRIBUTES = 0x24;
const ADMIN_SUBMISSION_QUEUE = 0x28;
const ADMIN_COMPLETION_QUEUE = 0x30;
const SUBMISSION_DOORBELL = 0x1000;
const COMPLETION_DOORBELL = 0x1004;
/** Enabled, submission entries of 64 bytes, completion entries of 16. */
const ENABLED = (4 << 20) | (6 << 16) | 1;
const READY = 1;

const SET_FEATURES = 0x09;
const GET_FEATURES = 0x0a;
const IDENTIFY = 0x06;
const IDENTIFY_CONTROLLER = 1;
/** A feature of 512 bytes, of which QEMU keeps every one as it was given. */
const HOST_BEHAVIOR_SUPPORT = 0x16;

const PAGE = 4096;
const ENTRIES = 64;
const COMMAND_SIZE = 64;
const COMPLETION_SIZE = 16;
const PHASE = 0x10000;
const TIMEOUT_NS = 20_000_000_000n;

interface Command {
  opcode: number;
  iova: bigint;
  dword10: number;
}

/**
 * An NVMe controller, driven through its admin queue (NVMe base specification): every DMA is done
 * within microseconds. As a copying device it uses a feature of 512 bytes as its buffer, which QEMU's
 * emulation stores unchanged.
 */
export class Nvme implements DmaDevice {
  /** Bytes that the queues need, and their IOVA in the container. */
  static readonly QUEUES_SIZE = 2 * PAGE;
  static readonly QUEUES_IOVA = 0x80000000n;

  readonly bar: Mapping;
  readonly maxTransfer = 512;
  readonly #queues: bigint;
  readonly #container: Container;
  #next = 0;
  #nextCompletion = 0;
  #phase = PHASE;

  /**
   * Maps BAR 0 and the queues, and starts the controller.
   * @param queues {@link QUEUES_SIZE} bytes, mapped by the constructor at {@link QUEUES_IOVA} of `container`.
   */
  constructor(device: Device, container: Container, queues: DmaMemory) {
    enableDevice(device);
    this.#queues = queues.address;
    this.#container = container;
    this.mapQueues();
    this.bar = device.region(0).map();
    const program = new Program();
    const register = (offset: number) => this.bar.address + BigInt(offset);
    const waitReady = (value: number) =>
      program.wait(32, register(CONTROLLER_STATUS), READY, value, TIMEOUT_NS);
    program.store(32, register(CONTROLLER_CONFIGURATION), 0);
    waitReady(0);
    program.store(32, register(ADMIN_QUEUE_ATTRIBUTES), ((ENTRIES - 1) << 16) | (ENTRIES - 1));
    program.store(64, register(ADMIN_SUBMISSION_QUEUE), Nvme.QUEUES_IOVA);
    program.store(64, register(ADMIN_COMPLETION_QUEUE), Nvme.QUEUES_IOVA + BigInt(PAGE));
    program.store(32, register(CONTROLLER_CONFIGURATION), ENABLED);
    const ready = waitReady(READY);
    program.run();
    const result = program.result(ready);
    if (result < 0) {
      this.bar.unmap();
      throw new KernelError(result, 'start of an NVMe controller');
    }
  }

  /** Maps the queues again, after everything in the container was unmapped. */
  mapQueues(): void {
    this.#container.mapDma({
      iova: Nvme.QUEUES_IOVA,
      vaddr: this.#queues,
      size: BigInt(Nvme.QUEUES_SIZE),
    });
  }

  /** @param count always {@link maxTransfer}. */
  readMemory(iova: bigint, count: number): void {
    this.#mustBeWhole(count);
    this.#run([{ opcode: SET_FEATURES, iova, dword10: HOST_BEHAVIOR_SUPPORT }]);
  }

  /** @param count always {@link maxTransfer}. */
  writeMemory(iova: bigint, count: number): void {
    this.#mustBeWhole(count);
    this.#run([{ opcode: GET_FEATURES, iova, dword10: HOST_BEHAVIOR_SUPPORT }]);
  }

  /** Copies {@link maxTransfer} bytes for each pair of IOVAs, in order. */
  copy(pairs: readonly { from: bigint; to: bigint }[]): void {
    const commands = pairs.flatMap(({ from, to }) => [
      { opcode: SET_FEATURES, iova: from, dword10: HOST_BEHAVIOR_SUPPORT },
      { opcode: GET_FEATURES, iova: to, dword10: HOST_BEHAVIOR_SUPPORT },
    ]);
    for (let at = 0; at < commands.length; at += ENTRIES - 2) {
      this.#run(commands.slice(at, at + ENTRIES - 2));
    }
  }

  /** Writes the controller's description, 4096 bytes, to memory at each IOVA. */
  identify(iovas: readonly bigint[]): void {
    for (let at = 0; at < iovas.length; at += ENTRIES - 1) {
      const part = iovas.slice(at, at + ENTRIES - 1);
      this.#run(part.map((iova) => ({ opcode: IDENTIFY, iova, dword10: IDENTIFY_CONTROLLER })));
    }
  }

  /** Stops the controller and unmaps its registers. */
  unmap(): void {
    this.bar.tryStore(32, CONTROLLER_CONFIGURATION, 0);
    this.bar.unmap();
  }

  #mustBeWhole(count: number): void {
    if (count !== this.maxTransfer) {
      throw new RangeError(`an NVMe controller transfers ${this.maxTransfer} bytes, not ${count}`);
    }
  }

  /** Executes up to {@link ENTRIES} - 1 commands. What became of their data only memory can tell. */
  #run(commands: readonly Command[]): void {
    const program = new Program();
    for (const { opcode, iova, dword10 } of commands) {
      const command = Buffer.alloc(COMMAND_SIZE);
      command.writeUInt8(opcode, 0);
      command.writeUInt16LE(this.#next, 2);
      command.writeBigUInt64LE(iova, 24);
      // The second pointer is that of the page behind, used only by transfers that reach into it.
      command.writeBigUInt64LE((iova & -BigInt(PAGE)) + BigInt(PAGE), 32);
      command.writeUInt32LE(dword10, 40);
      const slot = this.#queues + BigInt(this.#next * COMMAND_SIZE);
      program.copy(slot, program.data(command), COMMAND_SIZE);
      this.#next = (this.#next + 1) % ENTRIES;
    }
    program.store(32, this.bar.address + BigInt(SUBMISSION_DOORBELL), this.#next);
    let last = program.clock();
    for (let index = 0; index < commands.length; index++) {
      const completion = this.#queues + BigInt(PAGE + this.#nextCompletion * COMPLETION_SIZE);
      last = program.wait(32, completion + 12n, PHASE, this.#phase, TIMEOUT_NS);
      this.#nextCompletion = (this.#nextCompletion + 1) % ENTRIES;
      if (this.#nextCompletion === 0) this.#phase ^= PHASE;
    }
    program.store(32, this.bar.address + BigInt(COMPLETION_DOORBELL), this.#nextCompletion);
    program.run();
    const result = program.result(last);
    if (result < 0) throw new KernelError(result, 'waiting for an NVMe controller');
  }
}
