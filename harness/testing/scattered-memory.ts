import { MADV_POPULATE_WRITE, MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from '../abi/libc.ts';
import { reserveAddresses } from '../kernel/aligned-area.ts';
import { pageFrame } from '../kernel/page-flags.ts';
import { KernelError, Program, type DmaMemory } from '../shim/index.ts';
import type { TestContext } from './context.ts';

const PAGE = 4096;

/** Memory of which no two neighbouring pages are contiguous in physical memory. */
export interface ScatteredMemory {
  address: bigint;
  size: number;
  /** The same pages in another order: page i of the memory is page `order[i]` of it. */
  backing: DmaMemory;
  order: readonly number[];
}

/** Each page is a memory area of its own; undone after the test. */
export function scatteredMemory({ memory, defer }: TestContext, pages: number): ScatteredMemory {
  const backing = memory({ size: pages * PAGE, kind: 'memfd' });
  const area = reserveAddresses(BigInt(pages * PAGE), BigInt(PAGE));
  defer(() => area.release());
  const order = descendingFrames(backing.address, pages);
  const program = new Program().stopOnError();
  for (const [page, from] of order.entries()) {
    program.syscall(
      'mmap',
      area.address + BigInt(page * PAGE),
      PAGE,
      PROT_READ | PROT_WRITE,
      MAP_SHARED | MAP_FIXED,
      backing.fd,
      from * PAGE,
    );
  }
  // Present in the page tables already.
  program.syscall('madvise', area.address, pages * PAGE, MADV_POPULATE_WRITE);
  program.run();
  if (program.executed !== program.length) {
    const { name, result } = program.op(program.executed - 1);
    throw new KernelError(Number(result), `scattered memory: ${name}`);
  }
  return { address: area.address, size: pages * PAGE, backing, order };
}

/**
 * The numbers of `pages` present pages from `address` on, by descending page frame: the allocator hands out
 * neighbours in either direction. Who may not see frames (all 0 without CAP_SYS_ADMIN) gets them reversed.
 */
function descendingFrames(address: bigint, pages: number): number[] {
  const frames = Array.from({ length: pages }, (_, page) =>
    pageFrame(address + BigInt(page * PAGE)),
  );
  return [...frames.keys()].sort((a, b) => Number(frames[b]! - frames[a]!) || b - a);
}
