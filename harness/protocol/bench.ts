/** What both sides know of benchmarks. */
import type { TestMeta } from './test.ts';

/** What one sample stands for; absent where it makes no sense. */
export interface BenchUnits {
  bytes?: number;
  pages?: number;
  mappings?: number;
  interrupts?: number;
}

/** The metadata of one benchmark; static data as that of a test. */
export interface BenchMeta extends TestMeta {
  /** What is timed, each with figures of its own; empty if that is one thing. */
  operations: string[];
  /** Axes along which benchmarks of a kind differ: `{ size: 4096, pages: '4k' }`. */
  parameters: Record<string, string | number>;
  units: BenchUnits;
  /** Rounds that are enough, however many are asked for: of operations that take long. */
  mostRounds?: number;
  /** How far it may be from the C program, as a part of that; 3 % if nothing is said. */
  tolerance?: number;
}

/** How the worker takes samples. */
export interface BenchPlan {
  /** Rounds a benchmark. */
  rounds: number;
  /** Milliseconds after which a round ends, if it has its samples or not. */
  roundMs: number;
  /** Samples after which a round ends. */
  roundSamples: number;
  /** Milliseconds of iterations before each round that are not counted. */
  warmUpMs: number;
  /** Per cent of the median to add to each sample: for trying whether a comparison notices. */
  plantedDelay: number;
  /** Whether to ask for a turn (request `turn`) before a benchmark and each of its rounds. */
  turns: boolean;
}

/** What a round measured; a line of the worker's. */
export interface BenchRoundEvent {
  type: 'bench-round';
  /** Id of the measured operation: see {@link operationId}. */
  id: string;
  round: number;
  /** Nanoseconds, in their order. */
  samples: number[];
  /** The C program's samples of the same operation, not this one's. */
  reference: boolean;
  /** Time that the hypervisor took away meanwhile, milliseconds. */
  stealMs: number;
  /** How often another thread took the processor meanwhile. */
  preemptions: number;
}

/** The id under which an operation of a benchmark has its figures. */
export function operationId(bench: string, operation: string): string {
  return operation === '' ? bench : `${bench}.${operation}`;
}

/** Names of all operations of a benchmark; '' for the only one. */
export function operationsOf({ operations }: Pick<BenchMeta, 'operations'>): readonly string[] {
  return operations.length === 0 ? [''] : operations;
}
