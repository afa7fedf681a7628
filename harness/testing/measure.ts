import {
  operationId,
  type BenchMeta,
  type BenchPlan,
  type BenchRoundEvent,
} from '../protocol/bench.ts';
import { stealMs } from '../kernel/steal.ts';
import { recorder } from '../shim/index.ts';
import { runReference, type Reference } from './reference.ts';
import { TimedLoop, type Loop, type LoopOptions, type LoopRun } from './timed-loop.ts';
import type { DeclareIteration } from './timed-loop.ts';

/** What a benchmark may say besides its loop. */
export interface MeasureOptions extends LoopOptions {
  /** The same operation in C, for the operation of the given name; asked for in each round. */
  reference?: Reference | (() => Reference);
  /** Samples that a round takes even if that is longer than its time; 1 by default. */
  leastSamples?: number;
}

/** Samples the operations that an iteration of a loop in native code consists of, or any other loop. */
export type Measure = (loop: DeclareIteration | Loop, options?: MeasureOptions) => void;

/** Where a measurement goes. */
export interface MeasureHandlers {
  /** Blocks until it is this machine's turn to use the processor. */
  onTurn(round: number): void;
  onRound(round: BenchRoundEvent): void;
}

const NS_PER_MS = 1e6;
/** Rounds after which the C program measures too: starting it takes longer than a round. */
const REFERENCE_ROUNDS = 10;
/** In one go, so that the speed is known better and better. */
const WARM_UP_ITERATIONS = 100;

/** The {@link Measure} of one benchmark. */
export function measureFor(
  { id, operations, mostRounds = Infinity }: Pick<BenchMeta, 'id' | 'operations' | 'mostRounds'>,
  plan: BenchPlan,
  handlers: MeasureHandlers,
): Measure {
  return (loop, { reference, leastSamples = 1, ...options } = {}) =>
    recorder.pause(() => {
      const delay = { part: plan.plantedDelay / 100, cost: plan.plantedDelay > 0 ? spinCost() : 0 };
      const pace = new Pace(
        typeof loop === 'function' ? new TimedLoop(loop, operations, options) : loop,
      );
      // Much happens once only: pages are touched, code is translated by an emulator.
      pace.run(1);
      pace.run(1);
      for (let round = 0; round < Math.min(plan.rounds, mostRounds); round++) {
        handlers.onTurn(round);
        pace.warmUp(plan.warmUpMs * NS_PER_MS);
        const fitting = pace.fitting(plan.roundMs * NS_PER_MS);
        const count = Math.max(leastSamples, Math.min(plan.roundSamples, fitting));
        const before = stealMs();
        const { samples, preemptions } = pace.run(count, delay);
        const stolen = stealMs() - before;
        for (const [name, values] of samples) {
          handlers.onRound({
            type: 'bench-round',
            id: operationId(id, name),
            round,
            samples: values,
            reference: false,
            stealMs: stolen,
            preemptions,
          });
        }
        if (!reference || round >= REFERENCE_ROUNDS) continue;
        const program = typeof reference === 'function' ? reference() : reference;
        handlers.onRound({
          type: 'bench-round',
          id: operationId(id, program.operation ?? ''),
          round,
          samples: runReference(program, count),
          reference: true,
          stealMs: 0,
          preemptions: 0,
        });
      }
    });
}

const NO_DELAY = { part: 0, cost: 0 };
/** Samples for {@link spinCost}. */
const SPINS = 1000;

/** What waiting for no time adds to a sample, in ns. */
function spinCost(): number {
  const loop = new TimedLoop((program, timed) => timed('', program.yield()), [], {});
  const p50 = (delays?: Map<string, number>) => median(loop.run(SPINS, delays).samples.get('')!);
  return p50(new Map([['', 1]])) - p50();
}

/**
 * A loop with what is known of its speed: the best that was seen, because whoever is interrupted while
 * it warms up would otherwise hardly measure anything.
 */
class Pace {
  readonly #loop: Loop;
  readonly #medians = new Map<string, number>();
  #iterationNs = Infinity;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /** @param delay `part` of the best median is added to each sample; to wait at all takes `cost` ns */
  run(count: number, { part, cost } = NO_DELAY): LoopRun {
    const delays = [...this.#medians].map(
      ([name, p50]) => [name, Math.max(1, p50 * part - cost)] as const,
    );
    const run = this.#loop.run(count, part > 0 ? new Map(delays) : undefined);
    this.#iterationNs = Math.min(this.#iterationNs, Math.max(1, run.durationNs / count));
    if (part > 0) return run;
    for (const [name, samples] of run.samples) {
      this.#medians.set(name, Math.min(this.#medians.get(name) ?? Infinity, median(samples)));
    }
    return run;
  }

  /** Iterations that fit into a time, at least one. */
  fitting(ns: number): number {
    return Math.max(1, Math.floor(ns / this.#iterationNs));
  }

  /** Iterates for a while. What takes longer than that is warm since its first run. */
  warmUp(ns: number): void {
    for (let spent = 0; spent < ns && this.#iterationNs < ns;) {
      spent += this.run(Math.min(WARM_UP_ITERATIONS, this.fitting(ns - spent))).durationNs;
    }
  }
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1] ?? 0;
}
