import {
  operationId,
  type BenchMeta,
  type BenchPlan,
  type BenchRoundEvent,
} from '../protocol/bench.ts';
import { stealMs } from '../kernel/steal.ts';
import { recorder } from '../shim/index.ts';
import { runReference, type Reference } from './reference.ts';
import { TimedLoop, type LoopOptions, type LoopRun } from './timed-loop.ts';
import type { DeclareIteration } from './timed-loop.ts';

/** What a benchmark may say besides its loop. */
export interface MeasureOptions extends LoopOptions {
  /** The same operation in C, for the operation of the given name. */
  reference?: Reference;
}

/** Samples the operations that `declare` adds to each iteration of a loop in native code. */
export type Measure = (declare: DeclareIteration, options?: MeasureOptions) => void;

/** Where a measurement goes. */
export interface MeasureHandlers {
  /** Blocks until it is this machine's turn to use the processor. */
  onTurn(round: number): void;
  onRound(round: BenchRoundEvent): void;
}

const NS_PER_MS = 1e6;
/** Rounds after which the C program measures too: starting it takes longer than a round. */
const REFERENCE_ROUNDS = 10;

/** The {@link Measure} of one benchmark. */
export function measureFor(
  { id, operations, mostRounds = Infinity }: Pick<BenchMeta, 'id' | 'operations' | 'mostRounds'>,
  plan: BenchPlan,
  handlers: MeasureHandlers,
): Measure {
  return (declare, { reference, ...options } = {}) =>
    recorder.pause(() => {
      const loop = new TimedLoop(declare, operations, options);
      // Much happens once only: pages are touched, code is translated by an emulator.
      loop.run(1);
      const first = loop.run(1);
      for (let round = 0; round < Math.min(plan.rounds, mostRounds); round++) {
        handlers.onTurn(round);
        const { iterationNs, medians } = warmUp(loop, plan.warmUpMs * NS_PER_MS, first);
        const fitting = Math.floor((plan.roundMs * NS_PER_MS) / iterationNs);
        const count = Math.max(1, Math.min(plan.roundSamples, fitting));
        const delays = new Map(
          [...medians].map(([name, p50]) => [name, (p50 * plan.plantedDelay) / 100]),
        );
        const before = stealMs();
        const { samples, preemptions } = loop.run(count, delays);
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
        handlers.onRound({
          type: 'bench-round',
          id: operationId(id, reference.operation ?? ''),
          round,
          samples: runReference(reference, count),
          reference: true,
          stealMs: 0,
          preemptions: 0,
        });
      }
    });
}

/**
 * Iterates for a while; what a round will take is judged by the last run. What takes longer than
 * that once was warmed up by its first run.
 */
function warmUp(
  loop: TimedLoop,
  ns: number,
  first: LoopRun,
): { iterationNs: number; medians: Map<string, number> } {
  let run = first;
  let count = 1;
  for (let spent = 0; spent < ns && first.durationNs < ns;) {
    const iterationNs = Math.max(1, run.durationNs / count);
    count = Math.max(1, Math.min(100, Math.floor((ns - spent) / iterationNs)));
    run = loop.run(count);
    spent += run.durationNs;
  }
  const medians = new Map([...run.samples].map(([name, samples]) => [name, median(samples)]));
  return { iterationNs: Math.max(1, run.durationNs / count), medians };
}

function median(samples: readonly number[]): number {
  return samples.toSorted((a, b) => a - b)[samples.length >> 1] ?? 0;
}
