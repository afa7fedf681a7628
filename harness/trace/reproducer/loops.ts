/** Which operations of a program belong to its loops and its children. */
import { valueOf, type Call } from '../call.ts';

/** How many operations after a fork are the child's. */
export function childLength(fork: Call): number {
  return Number(valueOf(fork, 0));
}

/** The loops that lie within a range and nest properly: from their first operation up to `at`. */
export function loopsOf(
  calls: readonly Call[],
  from: number,
  end: number,
): { from: number; at: number }[] {
  const loops: { from: number; at: number }[] = [];
  for (let at = from; at < end; at++) {
    const call = calls[at];
    if (call?.op.name === 'fork') {
      at += childLength(call);
      continue;
    }
    if (call?.op.name !== 'repeat') continue;
    const loop = { from: Number(valueOf(call, 0)), at };
    const crosses = loops.some(
      (other) => other.from < loop.from && loop.from < other.at && other.at < loop.at,
    );
    const insideChild = calls
      .slice(0, loop.from)
      .some(
        (other) =>
          other.op.name === 'fork' &&
          other.index >= from &&
          loop.from <= other.index + childLength(other),
      );
    if (loop.from >= from && loop.from < at && !crosses && !insideChild) loops.push(loop);
  }
  return loops;
}
