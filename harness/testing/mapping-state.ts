import { lockedMemory } from '../kernel/memory-accounting.ts';
import { pinnedPages } from '../kernel/pinned-pages.ts';
import type { Container } from '../vfio/container.ts';
import { ownsMachine } from './machine.ts';

/** What a DMA mapping changes, and a refused one must not. */
export interface MappingState {
  /** KiB of locked memory of this process. */
  VmLck: number;
  VmPin: number;
  /** Pages pinned for devices; null where others than the test pin pages too. */
  pinned: number | null;
  /** Mappings that may still be made; null if the kernel does not tell. */
  dmaAvail: number | null;
}

/** Locked and pinned memory and the container's free mappings, now. */
export function mappingState(container: Container): MappingState {
  return {
    ...lockedMemory(),
    pinned: ownsMachine() ? pinnedPages() : null,
    dmaAvail: container.dmaAvail(),
  };
}
