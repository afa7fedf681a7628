import { Nvme } from '../devices/nvme.ts';
import type { DmaMemory } from '../shim/index.ts';
import type { Container } from '../vfio/container.ts';
import type { Device } from '../vfio/device.ts';
import type { TestContext } from './context.ts';
import { startNvme } from './dma-device.ts';

/** What the IOMMU drivers log when a device reaches for what is not mapped for it. */
export const IOMMU_FAULT = /DMAR: .*(fault|DMA (Read|Write))|page fault from EP|AMD-Vi: Event/;

const CHUNK = 512;
const SLOTS = 128;
const SCRATCH_IOVA = 0x80100000n;
const JUNK_SEED = 0x6a756e6b;

/** A place in the IOVA space and the content expected there: byte `phase` and following of a pattern. */
export interface Place {
  iova: bigint;
  phase?: number;
}

/**
 * The eyes and hands of an NVMe controller: tells what the device finds at an IOVA, and lets it write
 * there, 512 bytes at a time. Takes two mappings of the container, from 0x80000000 and 0x80100000 on.
 */
export class DmaProbe {
  /** Bytes looked at and written at each place. */
  static readonly SIZE = CHUNK;
  /** Bytes that it maps in the container for itself. */
  static readonly MAPPED = SLOTS * CHUNK + Nvme.QUEUES_SIZE;

  readonly #container: Container;
  readonly #nvme: Nvme;
  readonly #scratch: DmaMemory;

  constructor(context: TestContext, device: Device, container: Container) {
    this.#nvme = startNvme(context, device, container);
    // Slot 0 holds junk, slot 1 what is to be written, the others what was read.
    this.#scratch = context.memory({ size: SLOTS * CHUNK, kind: '4k' });
    this.#scratch.fill(JUNK_SEED, 0, CHUNK);
    this.#container = container;
    this.#mapScratch();
  }

  #mapScratch(): void {
    const { address, size } = this.#scratch;
    this.#container.mapDma({ iova: SCRATCH_IOVA, vaddr: address, size: BigInt(size) });
  }

  /** Maps again what it needs, after everything in the container was unmapped. */
  remap(): void {
    this.#nvme.mapQueues();
    this.#mapScratch();
  }

  /** Whether the device reads the pattern of `seed` (see DmaMemory.fill) at `iova`. */
  finds(seed: number, iova: bigint, phase = 0): boolean {
    return this.misses(seed, [{ iova, phase }]).length === 0;
  }

  /** Indexes of the places at which the device does not read the pattern of `seed`. */
  misses(seed: number, places: readonly Place[]): number[] {
    const missed: number[] = [];
    for (let start = 0; start < places.length; start += SLOTS - 2) {
      const part = places.slice(start, start + SLOTS - 2);
      this.#nvme.copy(
        part.flatMap(({ iova }, index) => {
          const to = SCRATCH_IOVA + BigInt((index + 2) * CHUNK);
          // First junk: what a blocked read leaves must not be the answer of the one before.
          return [
            { from: SCRATCH_IOVA, to },
            { from: iova, to },
          ];
        }),
      );
      part.forEach(({ phase = 0 }, index) => {
        if (this.#scratch.verify(seed, (index + 2) * CHUNK, CHUNK, phase) !== -1) {
          missed.push(start + index);
        }
      });
    }
    return missed;
  }

  /** Lets the device write the beginning of the pattern of `seed` at each IOVA. */
  write(seed: number, ...iovas: bigint[]): void {
    const from = SCRATCH_IOVA + BigInt(CHUNK);
    this.#scratch.fill(seed, CHUNK, CHUNK);
    this.#nvme.copy(iovas.map((iova) => ({ from, to: iova })));
  }
}

/** A {@link DmaProbe} of the test's own device, which must be in the role `nvme`. */
export function dmaProbe(context: TestContext, container: Container = context.container): DmaProbe {
  return new DmaProbe(context, context.device, container);
}
