import { MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, PROT_NONE } from '../abi/libc.ts';
import { KernelError, sys } from '../shim/index.ts';

/** A part of the address space with nothing in it, to put mappings at chosen addresses. */
export interface AddressArea {
  /** A multiple of the alignment. */
  address: bigint;
  release(): void;
}

/** Keeps `size` bytes of addresses free, from a multiple of `alignment` (a power of two) on. */
export function reserveAddresses(size: bigint, alignment: bigint): AddressArea {
  const length = size + alignment;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const found = sys.mmap(0n, length, PROT_NONE, flags, -1, 0);
  if (found < 0n) throw new KernelError(Number(found), `reserving ${length} bytes of addresses`);
  return {
    address: (found + alignment - 1n) & -alignment,
    release: () => void sys.munmap(found, length),
  };
}
