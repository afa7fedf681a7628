import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { TRACING, TRACING_INSTANCE, addToFilter, readTracing, writeTracing } from './tracing.ts';

/**
 * For each processor: what the first programs call again and again must not take longer to read than to
 * do. What is overwritten shows in a later program, when what overwrote it is no longer traced.
 */
const BUFFER_KB = '128';

/**
 * Which functions of VFIO were called, by the function tracer (Documentation/trace/ftrace.rst).
 * What was seen once is no longer traced: soon the tracer costs nothing, and what it still shows is
 * new.
 */
export class FunctionCoverage {
  readonly #reached = new Set<string>();

  private constructor() {}

  /** Begins; null if the kernel has no function tracer or this user may not use it. */
  static begin(): FunctionCoverage | null {
    try {
      if (!readFileSync(`${TRACING}/available_tracers`, 'utf8').includes('function')) return null;
      if (!existsSync(TRACING_INSTANCE)) mkdirSync(TRACING_INSTANCE);
      writeTracing('buffer_size_kb', BUFFER_KB);
      writeTracing('set_ftrace_filter', '*vfio*');
      for (const module of vfioModules()) addToFilter(`*:mod:${module}`);
      writeTracing('current_tracer', 'function');
      return new FunctionCoverage();
    } catch {
      return null;
    }
  }

  /** Whether a function was called since the last call, and never before. */
  isFresh(): boolean {
    const lines = readTracing('trace').split('\n');
    // `<task>-<pid> [cpu] flags time: function <-caller`
    const names = lines.flatMap((line) => /: ([\w.]+) <-/.exec(line)?.[1] ?? []);
    const fresh = [...new Set(names)].filter((name) => !this.#reached.has(name));
    for (const name of fresh) {
      this.#reached.add(name);
      addToFilter(`!${name}`);
    }
    if (names.length > 0) writeTracing('trace', '');
    return fresh.length > 0;
  }

  get reached(): string[] {
    return [...this.#reached].sort();
  }

  /** Functions of VFIO that were never called; of one that is in a module, the name without the module's. */
  get unreached(): string[] {
    const lines = readTracing('set_ftrace_filter').split('\n');
    return lines.flatMap((line) => /^[\w.]+/.exec(line)?.[0] ?? []).sort();
  }

  end(): void {
    writeTracing('current_tracer', 'nop');
    rmdirSync(TRACING_INSTANCE);
  }
}

function vfioModules(): string[] {
  return readFileSync('/proc/modules', 'utf8').match(/^vfio\w*/gm) ?? [];
}
