import { ERRNO } from '../abi/errno.ts';
import { Batch, resultText, type Check } from '../fuzz/batch.ts';
import type { Kind, Stage } from '../fuzz/fuzzer.ts';
import { Program, runParallel } from '../shim/index.ts';
import type { TestContext } from './context.ts';
import type { FuzzOptions } from './fuzz.ts';

const THREADS = 3;
const MOST_PAUSE = 50;
const PAUSE_NS = 2000;
/** The greatest errno that user space may see. */
const LAST_ERRNO = ERRNO.EHWPOISON;

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
    const threads = this.#batches.map((own) => {
      own.reset();
      return { batch: own, run: this.#stage.begin(own) };
    });
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
      const strange = firstStrange(batch.program);
      if (strange === undefined) continue;
      const what = `thread ${thread}: a result`;
      return { what, expected: 'an errno of user space', observed: resultText(strange) };
    }
    return this.#stage.end?.(alone) ?? null;
  }

  tidy({ alone }: Race<Run>): void {
    this.#stage.tidy?.(alone);
  }
}

function firstStrange(program: Program): number | undefined {
  for (let index = 0; index < program.length; index++) {
    const result = program.resultAt(index);
    if (result < -LAST_ERRNO) return result;
  }
  return undefined;
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

function pause<Run>(): Kind<Race<Run>> {
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
