import { affinity, pinTo, type Affinity } from '../kernel/affinity.ts';
import { Program } from '../shim/index.ts';

let found: Affinity | undefined;

/** The processors for benchmarks, as they were before anything was pinned. */
export function processors(): Affinity {
  return (found ??= affinity());
}

/** Lets this thread, and the processes it starts, run on the last of them: the first serves most interrupts. */
export function pinMainThread(): number {
  const { cpus, maskBytes } = processors();
  const cpu = cpus.at(-1)!;
  const program = new Program();
  pinTo(program, cpu, maskBytes);
  program.run();
  return cpu;
}
