import { Batch, strangeResult, type Check } from '../fuzz/batch.ts';
import type { Kind, Stage } from '../fuzz/fuzzer.ts';
import { Program, runParallel } from '../shim/index.ts';
import type { TestContext } from './context.ts';
import type { FuzzOptions } from './fuzz.ts';

/** How many threads a program is spread over. */
export const THREADS = 3;
const MOST_PAUSE = 50;
const PAUSE_NS = 2000;

/** What operations of a race work on: each thread's own, and all of them once more, one after the other. */
export interface Race<Run> {
  threads: readonly { batch: Batch; run: Run }[];
  alone: Run;
  /** Has the calls that are made alone. */
  batch: Batch;
}

/**
 * Several threads on one stage, of which each follows a model that knows nothing of the others: what
 * they are answered is not known before, but that it is an answer. Afterwards the same operations, one
 * after the other, must get the answers of the model: the race has left nothing behind.
 */
class RacingStage<Run> implements Stage<Race<Run>> {
  readonly #stage: Stage<Run>;
  readonly #batches = Array.from({ length: THREADS }, () => new Batch(new Program()));

  constructor(stage: Stage<Run>) {
    this.#stage = stage;
  }

  begin(batch: Batch): Race<Run> {
    const threads = this.#batches.map((own) => ({
      batch: own.reset(),
      run: this.#stage.begin(own),
    }));
    return { threads, alone: this.#stage.begin(batch), batch };
  }

  close({ alone }: Race<Run>): void {
    this.#stage.close?.(alone);
  }

  execute({ threads, batch }: Race<Run>): void {
    runParallel(threads.map((thread) => thread.batch.program));
    for (const { run } of threads) this.#stage.tidy?.(run);
    batch.run();
  }

  end({ threads, alone }: Race<Run>): ReturnType<Check> {
    for (const [thread, { batch }] of threads.entries()) {
      const strange = strangeResult(batch.program);
      if (strange) return { ...strange, what: `thread ${thread}: ${strange.what}` };
    }
    return this.#stage.end?.(alone) ?? null;
  }

  tidy({ alone }: Race<Run>): void {
    this.#stage.tidy?.(alone);
  }
}

function raced<Run>(kind: Kind<Run>): Kind<Race<Run>> {
  return {
    weight: kind.weight,
    fields: { thread: THREADS, ...kind.fields },
    issue({ threads, alone }, thread = 0, ...values) {
      kind.issue(threads[thread]!.run, ...values);
      kind.issue(alone, ...values);
    },
  };
}

/** One of several threads does nothing for a while: the schedule of a program, in its seed. */
export function pause<Run extends { threads: readonly { batch: Batch }[] }>(): Kind<Run> {
  return {
    weight: 2,
    fields: { thread: THREADS, time: MOST_PAUSE },
    issue: ({ threads }, thread = 0, time = 0) =>
      void threads[thread]!.batch.program.spin(time * PAUSE_NS),
  };
}

/**
 * A fuzzer's programs on several threads that share its files, then once more on one.
 * @param without kinds of operations that wait for what another thread may prevent, or that free
 *   addresses or processes another thread relies on
 */
export function racing<Run>(
  { kinds, stage, ...options }: FuzzOptions<Run>,
  without: readonly string[] = [],
): FuzzOptions<Race<Run>> {
  const fit = Object.entries(kinds).filter(([name]) => !without.includes(name));
  return {
    ...options,
    kinds: {
      ...Object.fromEntries(fit.map(([name, kind]) => [name, raced(kind)])),
      pause: pause(),
    },
    stage: (context: TestContext) => new RacingStage(stage(context)),
  };
}
