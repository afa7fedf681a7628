import { constants } from 'node:fs';
import { MAP_SHARED, O_CLOEXEC, O_RDWR, PROT_READ, PROT_WRITE } from '../abi/libc.ts';
import { sys } from '../shim/index.ts';
import { isAccessible } from './access.ts';

const HEAP = '/dev/dma_heap/system';
/** `DMA_HEAP_IOCTL_ALLOC` of `<linux/dma-heap.h>`, with its struct dma_heap_allocation_data. */
const ALLOC = 0xc018_4800;
const ALLOC_SIZE = 24;

/** Whether this process may have dma-bufs of the system heap: CONFIG_DMABUF_HEAPS_SYSTEM, and as a rule root. */
export function hasDmaHeap(): boolean {
  return isAccessible(HEAP, constants.R_OK | constants.W_OK);
}

/** Memory of a dma-buf that this process has mapped. */
export interface HeapMemory {
  address: bigint;
  release(): void;
}

/**
 * Memory of the system heap. The kernel maps it like that of a device, by page frames (VM_PFNMAP), but the
 * pages are its own: they are given to others once the dma-buf is gone.
 */
export function heapMemory(size: number): HeapMemory {
  const heap = sys.open(HEAP, O_RDWR | O_CLOEXEC);
  const argument = Buffer.alloc(ALLOC_SIZE);
  argument.writeBigUInt64LE(BigInt(size), 0);
  argument.writeUInt32LE(O_RDWR | O_CLOEXEC, 12);
  const result = sys.ioctl(heap, ALLOC, argument);
  sys.close(heap);
  if (result !== 0) throw new Error(`no memory of ${HEAP}: ${result}`);
  const buffer = argument.readUInt32LE(8);
  const address = sys.mmap(0n, size, PROT_READ | PROT_WRITE, MAP_SHARED, buffer, 0);
  return {
    address,
    release() {
      sys.munmap(address, size);
      sys.close(buffer);
    },
  };
}
