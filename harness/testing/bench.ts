import type { BenchUnits } from '../protocol/bench.ts';
import { casesOf, type TestOptions } from './declare.ts';
import { registerBench, type BenchBody } from './registry.ts';

/** A hang, not slowness: set-up and rounds of the longest benchmark fit several times. */
const DEFAULT_TIMEOUT_MS = 300_000;

/** The metadata of a benchmark, as its author writes it. */
export interface BenchOptions extends Omit<TestOptions, 'source' | 'fixes' | 'peer'> {
  /** Names of what is timed, if that is more than one thing: `['map', 'unmap']`. */
  operations?: readonly string[];
  /** Axes along which benchmarks of a kind differ. */
  parameters?: Readonly<Record<string, string | number>>;
  /** What one sample stands for. */
  units?: BenchUnits;
  /** Rounds that are enough for an operation that takes long. */
  mostRounds?: number;
  /** How far it may be from the C program that it is compared with, as a part of that. */
  tolerance?: number;
}

/**
 * Declares a benchmark: operations whose latency is sampled in native code.
 * @param id stable for ever, dotted, the suite first: `container.dma.4k.64MiB.warm`.
 * @param title what is measured, as a noun phrase.
 */
export function bench(id: string, title: string, options: BenchOptions, body: BenchBody): void {
  const { operations = [], parameters = {}, units = {}, mostRounds, tolerance, ...rest } = options;
  const declared = casesOf(id, title, { timeoutMs: DEFAULT_TIMEOUT_MS, ...rest, source: [] });
  for (const { meta, ...benchCase } of declared) {
    registerBench({
      ...benchCase,
      meta: {
        ...meta,
        operations: [...operations],
        parameters: { ...parameters, ...(options.devices && { device: benchCase.role }) },
        units,
        ...(mostRounds !== undefined && { mostRounds }),
        ...(tolerance !== undefined && { tolerance }),
      },
      body,
    });
  }
}
