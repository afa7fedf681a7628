import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import type { BenchMethod, BenchResults, Interleaved } from '../../reports/bench-results.ts';
import { readBench, writeBenchReports } from '../../reports/bench/directory.ts';
import { Journal, JOURNAL_FILE, type JournalEvent } from '../../reports/journal.ts';
import type { BenchMeta } from '../protocol/bench.ts';
import type { Target } from '../target/target.ts';
import { supervise, type RunEnd } from './supervise.ts';
import { Turns } from './turns.ts';

/** One kernel to measure. */
export interface BenchSide {
  target: Target;
  /** Exists, and is empty but for what the target keeps there. */
  directory: string;
  /** Kernel release as far as it is known before the boot. */
  kernel: string;
  method: BenchMethod;
  interleaved: Interleaved | null;
}

export interface BenchOptions {
  /** Several take turns round by round, on one processor as it were. */
  sides: readonly BenchSide[];
  benches: readonly BenchMeta[];
  machine: string;
  version: string;
  command: string[];
  timeoutScale: number;
  signal: AbortSignal;
  show(side: number, event: JournalEvent): void;
}

/** A death that has nothing to do with the benchmark happens once; more is the kernel's. */
const MAX_DEATHS = 5;

/** Measures on every side; whatever happens, each directory holds valid results at the end. */
export async function runBenches(options: BenchOptions): Promise<BenchResults[]> {
  const turns = new Turns(options.sides.length);
  // A side that cannot go on must not leave the others waiting, nor half a comparison running.
  const enough = new AbortController();
  const ends = await Promise.allSettled(
    options.sides.map(async (side, index) => {
      try {
        return await runSide(options, side, index, turns, enough.signal);
      } catch (error) {
        enough.abort();
        throw error;
      } finally {
        turns.leave(index);
      }
    }),
  );
  return ends.map((end) => {
    if (end.status === 'rejected') throw end.reason;
    return end.value;
  });
}

async function runSide(
  { sides, benches, machine, version, command, timeoutScale, signal, show }: BenchOptions,
  { target, directory, kernel, method, interleaved }: BenchSide,
  index: number,
  turns: Turns,
  enough: AbortSignal,
): Promise<BenchResults> {
  const journal = new Journal(join(directory, JOURNAL_FILE));
  const record = (event: JournalEvent): void => {
    journal.append(event);
    show(index, event);
    if (event.type === 'test-begin') record(hostLoad());
    if (event.type === 'session-end') turns.forget(index);
  };
  const order = new Map(benches.map(({ id }, position) => [id, position]));
  const alone = sides.length === 1;
  record({
    type: 'bench-begin',
    schema: 1,
    version,
    command,
    kernel,
    machine,
    target: target.describe(),
    method,
    interleaved,
    benchmarks: [...benches],
  });
  let end: RunEnd = { outcome: 'finished', reason: '' };
  try {
    end = await supervise({
      target,
      // A benchmark that waits for its turn is as slow as all sides together.
      tests: benches.map((bench) => ({ ...bench, timeoutMs: bench.timeoutMs * sides.length })),
      record,
      timeoutScale: timeoutScale * target.timeoutScale,
      maxDeaths: MAX_DEATHS,
      signal: AbortSignal.any([signal, enough]),
      bench: { ...method, turns: !alone },
      answer: (action, { id, round }) =>
        action === 'turn'
          ? turns.take(index, { bench: order.get(String(id)) ?? 0, round: Number(round) })
          : undefined,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    end = { outcome: 'broken', reason: reason.split('\n', 1)[0] ?? '' };
    throw error;
  } finally {
    record({ type: 'run-end', ...end });
    journal.close();
    writeBenchReports(directory);
  }
  return readBench(directory);
}

function hostLoad(): JournalEvent {
  return { type: 'host-load', load: loadavg()[0] ?? 0, cpus: availableParallelism() };
}
