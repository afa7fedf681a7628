import picomatch from 'picomatch';
import { median } from 'simple-statistics';
import {
  missingDurations,
  traceCalls,
  type CallsIn,
  type TracedCall,
} from '../kernel/function-durations.ts';
import type { Program } from '../shim/index.ts';
import type { Measure } from './measure.ts';
import type { Requirement } from './requirement.ts';
import { TimedLoop, type Loop, type LoopRun } from './timed-loop.ts';

/** The durations of functions of the kernel. */
export const FUNCTION_DURATIONS: Requirement = {
  name: 'durations of functions of the kernel',
  missing: missingDurations,
};

/** Ends every iteration in the trace; it does next to nothing, and so shows what tracing adds to a call. */
const MARK = '*_sys_getppid';
/** The name under which the mark is sampled. */
export const TRACER = 'tracer';

/**
 * Samples the time that iterations spend in functions of the kernel, by tracing them, without what
 * tracing adds to each call: that is sampled under the name {@link TRACER}.
 * @param parts patterns of functions by the name of the operation under which they are sampled; where
 * the kernel has no such function, there are no samples
 */
export function measureInside(
  measure: Measure,
  parts: Readonly<Record<string, string>>,
  declare: (program: Program) => void,
): void {
  traceCalls([...Object.values(parts), MARK], (callsIn) =>
    measure(new TracedLoop(callsIn, parts, declare)),
  );
}

class TracedLoop implements Loop {
  readonly #callsIn: CallsIn;
  readonly #parts: [name: string, matches: (name: string) => boolean][];
  readonly #loop: TimedLoop;

  constructor(
    callsIn: CallsIn,
    parts: Readonly<Record<string, string>>,
    declare: (program: Program) => void,
  ) {
    this.#callsIn = callsIn;
    this.#parts = Object.entries(parts).map(([name, glob]) => [name, picomatch(glob)]);
    this.#loop = new TimedLoop(
      (program) => {
        declare(program);
        program.syscall('getppid');
      },
      [],
      {},
    );
  }

  run(count: number): LoopRun {
    let run: LoopRun | undefined;
    const iterations = this.#iterations(this.#callsIn(() => (run = this.#loop.run(count))));
    if (!run || iterations.length !== count)
      throw new Error(`the trace shows ${iterations.length} of ${count} iterations`);
    const marks = iterations.map((calls) => calls.at(-1)!.ns);
    const added = median(marks);
    const samples = this.#parts.flatMap(([name, matches]) => {
      const own = iterations.map((calls) => calls.filter((call) => matches(call.name)));
      return own.some(({ length }) => length > 0)
        ? [[name, own.map((calls) => durationOf(calls, added))] as const]
        : [];
    });
    samples.push([TRACER, marks]);
    return { ...run, samples: new Map(samples) };
  }

  #iterations(calls: readonly TracedCall[]): TracedCall[][] {
    const isMark = picomatch(MARK);
    const ends = calls.flatMap(({ name }, index) => (isMark(name) ? [index + 1] : []));
    return ends.map((end, iteration) => calls.slice(ends[iteration - 1] ?? 0, end));
  }
}

/** @param added nanoseconds that tracing adds to each call */
function durationOf(calls: readonly TracedCall[], added: number): number {
  return calls.reduce((sum, { ns }) => sum + Math.max(0, ns - added), 0);
}
