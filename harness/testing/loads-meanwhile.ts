import { Program, runParallel, type Ref } from '../shim/index.ts';

/** How often is loaded, and how far apart: two seconds, longer than any reset takes. */
const LOADS = 400;
const PAUSE_MS = 5;
/** The kernel gives a device 100 ms for a reset (PCI Express 5.0, 6.6.2) and keeps users out meanwhile. */
export const NEARLY_RESET_NS = 90_000_000n;

/**
 * Loads a word of memory again and again while another thread makes a call.
 * @param add adds the call to the program of the other thread.
 * @returns the result of the call and the longest time that one load took, in nanoseconds; null for that if the loads did
 *   not begin before the call and go on after it, and so tell nothing.
 */
export function loadMeanwhile(
  address: bigint,
  add: (program: Program) => Ref,
): { result: number; longestNs: bigint | null } {
  const calling = new Program();
  calling.syscall('poll', 0, 0, 20);
  const call = add(calling);
  const loading = new Program({ arena: 16 * LOADS });
  const durations = loading.data(8 * LOADS);
  const pause = loading.syscall('poll', 0, 0, PAUSE_MS);
  loading.load(32, address);
  const loads = loading.repeat(pause, LOADS, durations);
  runParallel([calling, loading]);
  const result = calling.result(call);
  const [loaded, called] = [loading.times(loads), calling.times(call)];
  const isAround = loaded.start <= called.start && loaded.end >= called.end;
  if (loading.result(loads) !== 0 || !isAround) return { result, longestNs: null };
  const longest = Array.from({ length: LOADS }, (_, i) => durations.bytes.readBigUInt64LE(8 * i));
  return { result, longestNs: longest.reduce((most, one) => (one > most ? one : most)) };
}
