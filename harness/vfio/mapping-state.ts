import { lockedMemory } from '../kernel/memory-accounting.ts';
import type { Container } from './container.ts';

/** What a DMA mapping changes, and a refused one must not. */
export interface MappingState {
  /** KiB of locked memory of this process. */
  VmLck: number;
  VmPin: number;
  /** Mappings that may still be made; null if the kernel does not tell. */
  dmaAvail: number | null;
}

/** Locked memory of this process and the container's free mappings, now. */
export function mappingState(container: Container): MappingState {
  return { ...lockedMemory(), dmaAvail: container.dmaAvail() };
}
