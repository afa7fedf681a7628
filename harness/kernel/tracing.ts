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
