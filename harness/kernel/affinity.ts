import { KernelError, Program } from '../shim/index.ts';

/** Enough for 8192 processors, as many as Linux has been built for. */
const MASK_BYTES = 1024;

/** The processors that the calling thread may run on. */
export interface Affinity {
  cpus: number[];
  /** Bytes of the kernel's mask. */
  maskBytes: number;
}

/** sched_getaffinity(2) of this thread. @throws KernelError */
export function affinity(): Affinity {
  const program = new Program({ ops: 1, arena: MASK_BYTES });
  const mask = program.data(MASK_BYTES);
  const call = program.syscall('sched_getaffinity', 0, MASK_BYTES, mask);
  const maskBytes = program.run().result(call);
  if (maskBytes < 0) throw new KernelError(maskBytes, 'sched_getaffinity');
  const cpus: number[] = [];
  for (let cpu = 0; cpu < 8 * maskBytes; cpu++) {
    if ((mask.bytes[cpu >> 3]! >> (cpu & 7)) & 1) cpus.push(cpu);
  }
  return { cpus, maskBytes };
}

/** Adds to a program that the thread which executes it runs on this processor only. */
export function pinTo(program: Program, cpu: number, maskBytes: number): void {
  const mask = program.data(maskBytes);
  mask.bytes[cpu >> 3] = 1 << (cpu & 7);
  program.syscall('sched_setaffinity', 0, maskBytes, mask);
}
