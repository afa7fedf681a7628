import { addToFilter, inTracingInstance, readTracing, writeTracing } from './tracing.ts';

/** Room for each processor: a call takes less than a hundred bytes. */
const BUFFER_KB = '8192';
const NS_PER_US = 1000;

/**
 * The function graph tracer prints ` 0)  1.234 us  |  name();`, or for a function that calls another
 * traced one ` 0)  |  name() {` and at its end ` 0)  5.678 us  |  }`.
 */
const LINE = /(?:([\d.]+) us)? +\| +(?:([\w.]+)\(\)(;| \{)|\})/g;

/** A call of a function of the kernel's. */
export interface TracedCall {
  name: string;
  ns: number;
}

/** Runs something; the calls of the traced functions that this thread made meanwhile, in the order of their ends. */
export type CallsIn = (body: () => void) => TracedCall[];

/** Why the kernel does not tell how long its functions take; null if it does. */
export function missingDurations(): string | null {
  if (process.getuid?.() !== 0) return 'it needs root: it traces functions of the kernel';
  try {
    return inTracingInstance(() =>
      readTracing('available_tracers').split(/\s+/).includes('function_graph')
        ? null
        : 'the kernel cannot trace durations apart from what others trace (Linux 6.11, CONFIG_FUNCTION_GRAPH_TRACER)',
    );
  } catch {
    return 'the kernel traces no functions';
  }
}

/**
 * Traces functions of the kernel as long as `user` runs: to begin and to end takes seconds.
 * @param patterns of names, `*` standing for any characters; where there is no such function, there are
 * no calls of it
 */
export function traceCalls(patterns: readonly string[], user: (callsIn: CallsIn) => void): void {
  inTracingInstance(() => {
    writeTracing('buffer_size_kb', BUFFER_KB);
    writeTracing('set_ftrace_pid', String(process.pid));
    if (patterns.filter(addToFilter).length === 0)
      throw new Error(`the kernel has none of the functions ${patterns.join(', ')}`);
    writeTracing('current_tracer', 'function_graph');
    try {
      user((body) => {
        writeTracing('trace', '');
        body();
        return callsOf(readTracing('trace'));
      });
    } finally {
      writeTracing('current_tracer', 'nop');
    }
  });
}

/** The calls in what the tracer prints. */
export function callsOf(trace: string): TracedCall[] {
  const open: string[] = [];
  return [...trace.matchAll(LINE)].flatMap(([, us, name, rest]) => {
    if (name !== undefined && rest === ' {') {
      open.push(name);
      return [];
    }
    const ended = name ?? open.pop();
    return ended === undefined ? [] : [{ name: ended, ns: Number(us) * NS_PER_US }];
  });
}
