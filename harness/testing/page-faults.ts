import { Program } from '../shim/index.ts';

/** <sys/resource.h> */
const RUSAGE_THREAD = 1;
/** struct rusage of 64-bit machines: its size, and where ru_minflt lies. */
const RUSAGE_SIZE = 144;
const RU_MINFLT = 64;

/** How often the operations that `add` puts into a program found a page missing that needs no disk (getrusage(2)). */
export function minorFaults(add: (program: Program) => void): number {
  const program = new Program();
  const [before, after] = [program.data(RUSAGE_SIZE), program.data(RUSAGE_SIZE)];
  program.syscall('getrusage', RUSAGE_THREAD, before);
  add(program);
  program.syscall('getrusage', RUSAGE_THREAD, after);
  program.run();
  const count = ({ bytes }: typeof before) => Number(bytes.readBigUInt64LE(RU_MINFLT));
  return count(after) - count(before);
}
