import { MADV_POPULATE_WRITE, MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from '../abi/libc.ts';
import { reserveAddresses } from '../kernel/aligned-area.ts';
import { KernelError, Program, type DmaMemory } from '../shim/index.ts';
import type { TestContext } from './context.ts';

const PAGE = 4096;

/** Memory whose pages lie in reverse order: no two neighbours are contiguous in physical memory. */
export interface ScatteredMemory {
  address: bigint;
  size: number;
  /** The same pages in their own order: page i of the memory is page `pages - 1 - i` of it. */
  backing: DmaMemory;
}

/** Each page is a memory area of its own; undone after the test. */
export function scatteredMemory({ memory, defer }: TestContext, pages: number): ScatteredMemory {
  const backing = memory({ size: pages * PAGE, kind: 'memfd' });
  const area = reserveAddresses(BigInt(pages * PAGE), BigInt(PAGE));
  defer(() => area.release());
  const program = new Program().stopOnError();
  for (let page = 0; page < pages; page++) {
    program.syscall(
      'mmap',
      area.address + BigInt(page * PAGE),
      PAGE,
      PROT_READ | PROT_WRITE,
      MAP_SHARED | MAP_FIXED,
      backing.fd,
      (pages - 1 - page) * PAGE,
    );
  }
  // Present in the page tables already.
  program.syscall('madvise', area.address, pages * PAGE, MADV_POPULATE_WRITE);
  program.run();
  if (program.executed !== program.length) {
    const { name, result } = program.op(program.executed - 1);
    throw new KernelError(Number(result), `scattered memory: ${name}`);
  }
  return { address: area.address, size: pages * PAGE, backing };
}
