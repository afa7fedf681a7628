import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

/** Where the kernel's trace file system is mounted. */
export const TRACING = '/sys/kernel/tracing';

/** An instance of our own: whatever else is traced goes on undisturbed. */
export const TRACING_INSTANCE = `${TRACING}/instances/vfio-conformance`;

/** Makes the instance for as long as `body` runs; one that a killed process left behind is taken over. */
export function inTracingInstance<T>(body: () => T): T {
  if (!existsSync(TRACING_INSTANCE)) mkdirSync(TRACING_INSTANCE);
  try {
    return body();
  } finally {
    rmdirSync(TRACING_INSTANCE);
  }
}

/** @param file of the instance, `trace` for instance */
export function readTracing(file: string): string {
  return readFileSync(`${TRACING_INSTANCE}/${file}`, 'utf8');
}

/** @param file of the instance, `current_tracer` for instance */
export function writeTracing(file: string, text: string): void {
  writeFileSync(`${TRACING_INSTANCE}/${file}`, `${text}\n`);
}

/** Lets a tracer of the instance look at functions too, by a pattern of their names; whether there are any. */
export function addToFilter(pattern: string): boolean {
  try {
    writeFileSync(`${TRACING_INSTANCE}/set_ftrace_filter`, `${pattern}\n`, { flag: 'a' });
    return true;
  } catch {
    return false;
  }
}

/** Whether calls of all these functions can be traced (CONFIG_FUNCTION_TRACER), by this user. */
export function canTraceFunctions(names: readonly string[]): boolean {
  try {
    const all = readFileSync(`${TRACING}/available_filter_functions`, 'utf8').split('\n');
    return names.every((name) => all.includes(name));
  } catch {
    return false;
  }
}

/** The calls of kernel functions of these names while `body` runs, by whomever, in order. */
export function traceFunctions(names: readonly string[], body: () => void): string[] {
  return inTracingInstance(() => {
    writeTracing('set_ftrace_filter', '');
    for (const name of names) addToFilter(name);
    writeTracing('current_tracer', 'function');
    body();
    writeTracing('tracing_on', '0');
    const lines = readTracing('trace').matchAll(/: ([\w.]+) <-/g);
    writeTracing('current_tracer', 'nop');
    return [...lines].map(([, name]) => name!);
  });
}

/** Group of the probes that are put on functions for their arguments. */
const PROBES = 'vfio_conformance';

function writeProbes(line: string): void {
  writeFileSync(`${TRACING}/kprobe_events`, `${line}\n`, { flag: 'a' });
}

/** Whether arguments of these functions can be seen (CONFIG_KPROBE_EVENTS), by this user. */
export function canTraceArguments(names: readonly string[]): boolean {
  return existsSync(`${TRACING}/kprobe_events`) && canTraceFunctions(names);
}

/** A call of a kernel function: the low 32 bits of the arguments that were asked for. */
export interface TracedCall {
  name: string;
  arguments: number[];
}

/**
 * The calls of kernel functions of these names while `body` runs, by whomever, in order.
 * @param positions of the arguments, the first being 1.
 */
export function traceArguments(
  names: readonly string[],
  positions: readonly number[],
  body: () => void,
): TracedCall[] {
  const fetched = positions.map((position) => `a${position}=$arg${position}:x32`).join(' ');
  const added: string[] = [];
  try {
    for (const name of names) {
      writeProbes(`p:${PROBES}/${name} ${name} ${fetched}`);
      added.push(name);
    }
    return inTracingInstance(() => {
      writeTracing(`events/${PROBES}/enable`, '1');
      try {
        body();
      } finally {
        writeTracing(`events/${PROBES}/enable`, '0');
      }
      return [...readTracing('trace').matchAll(/: (\w+): \([^)]*\)((?: a\d+=\w+)*)/g)].map(
        ([, name, values]) => ({
          name: name!,
          arguments: [...values!.matchAll(/=(\w+)/g)].map(([, value]) => Number(value)),
        }),
      );
    });
  } finally {
    for (const name of added) writeProbes(`-:${PROBES}/${name}`);
  }
}
