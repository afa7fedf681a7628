import { KernelError, Program } from '../shim/index.ts';
import type { Device } from '../vfio/device.ts';
import { enableDevice } from '../vfio/config-space.ts';
import type { Mapping } from '../vfio/region.ts';
import type { DmaDevice, InterruptDevice } from './test-device.ts';

const IDENTIFICATION = 0x00;
const LIVENESS = 0x04;
const STATUS = 0x20;
const INTERRUPT_STATUS = 0x24;
/** A store of 32 bits ORs them into the interrupt status and raises the interrupt. */
export const EDU_RAISE = 0x60;
/** A store of 32 bits takes them out of the interrupt status. */
export const EDU_ACKNOWLEDGE = 0x64;
const DMA_SOURCE = 0x80;
const DMA_DESTINATION = 0x88;
const DMA_COUNT = 0x90;
const DMA_COMMAND = 0x98;
const DMA_START = 1n;
const DMA_TO_MEMORY = 2n;
const DMA_INTERRUPT = 4n;
const BUFFER = 0x40000n;

/** QEMU's educational device (docs/specs/edu.rst): one BAR, a DMA engine, INTx or one MSI vector. */
export class Edu implements DmaDevice, InterruptDevice {
  readonly bar: Mapping;
  readonly maxTransfer = 4096;

  /** Maps BAR 0 and switches on memory decoding and bus mastering. */
  constructor(device: Device) {
    enableDevice(device);
    this.bar = device.region(0).map();
  }

  /** 0x010000ed for version 1.0. */
  identification(): number {
    return this.bar.load32(IDENTIFICATION);
  }

  /** The device answers with the complement of what was written. */
  liveness(value: number): number {
    this.bar.store32(LIVENESS, value);
    return this.bar.load32(LIVENESS);
  }

  /** The raw status register. */
  status(): number {
    return this.bar.load32(STATUS);
  }

  /** Starts a transfer and returns at once; ~100 ms later it is done. */
  startDma(from: bigint, to: bigint, count: number, command: bigint): void {
    const program = new Program();
    this.#dma(program, from, to, count, command);
    program.run();
  }

  /** Whether a transfer is under way. */
  dmaBusy(): boolean {
    return (this.bar.load(64, DMA_COMMAND) & DMA_START) !== 0n;
  }

  readMemory(iova: bigint, count: number): void {
    this.#transfer(iova, BUFFER, count, DMA_START);
  }

  writeMemory(iova: bigint, count: number): void {
    this.#transfer(BUFFER, iova, count, DMA_START | DMA_TO_MEMORY);
  }

  /** Like {@link writeMemory}, but returns at once. */
  startWriteMemory(iova: bigint, count: number): void {
    this.startDma(BUFFER, iova, count, DMA_START | DMA_TO_MEMORY);
  }

  /** Like {@link writeMemory}, but returns at once and interrupts when done. */
  startWriteMemoryWithInterrupt(iova: bigint, count: number): void {
    this.startDma(BUFFER, iova, count, DMA_START | DMA_TO_MEMORY | DMA_INTERRUPT);
  }

  /** Raises the interrupt with bits `status` (default 1). */
  raise(_vector?: number, status = 1): void {
    this.bar.store32(EDU_RAISE, status);
  }

  acknowledge(): void {
    this.bar.store32(EDU_ACKNOWLEDGE, 0xffff_ffff);
  }

  raiseIn(program: Program): void {
    program.store(32, this.bar.address + BigInt(EDU_RAISE), 1);
  }

  acknowledgeIn(program: Program): void {
    program.store(32, this.bar.address + BigInt(EDU_ACKNOWLEDGE), 0xffff_ffff);
  }

  /** The bits raised and not yet acknowledged. */
  interruptStatus(): number {
    return this.bar.load32(INTERRUPT_STATUS);
  }

  unmap(): void {
    this.bar.unmap();
  }

  #dma(program: Program, from: bigint, to: bigint, count: number, command: bigint): void {
    const register = (offset: number) => this.bar.address + BigInt(offset);
    program.store(64, register(DMA_SOURCE), from);
    program.store(64, register(DMA_DESTINATION), to);
    program.store(64, register(DMA_COUNT), BigInt(count));
    program.store(64, register(DMA_COMMAND), command);
  }

  #transfer(from: bigint, to: bigint, count: number, command: bigint): void {
    const TIMEOUT_NS = 20_000_000_000n;
    const program = new Program();
    this.#dma(program, from, to, count, command);
    const done = program.wait(
      64,
      this.bar.address + BigInt(DMA_COMMAND),
      DMA_START,
      0n,
      TIMEOUT_NS,
    );
    program.run();
    const result = program.result(done);
    if (result < 0)
      throw new KernelError(Number(result), 'waiting for the end of an edu DMA transfer');
  }
}
