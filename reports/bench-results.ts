import type { BenchPlan, BenchUnits } from '../harness/protocol/bench.ts';
import type { Environment } from '../harness/protocol/events.ts';
import type { Status } from '../harness/protocol/test.ts';
import type { Outcome } from './results.ts';

/** Bumped when a reader of an older `bench.json` would misunderstand a newer one. */
export const BENCH_SCHEMA = 1;

/** The file in a results directory of `vfio-conformance bench`; docs/benchmarks.md describes it. */
export const BENCH_FILE = 'bench.json';

/** Inclusive bounds of a confidence interval. */
export type Interval = [low: number, high: number];

/** What is odd about a figure, and what to try next. */
export interface BenchWarning {
  text: string;
  next: string;
}

/** How the samples of a run were taken. */
export interface BenchMethod extends Omit<BenchPlan, 'turns'> {
  /** Probability of the confidence intervals, 0.95 for instance. */
  confidence: number;
}

/** Rounds alternated with those of other kernels. */
export interface Interleaved {
  /** The same for all runs that belong together. */
  id: string;
  /** Which of them this is, from 0. */
  side: number;
  sides: number;
}

/** Everything a run of benchmarks on one kernel found out. */
export interface BenchResults {
  schema: typeof BENCH_SCHEMA;
  run: {
    started: string;
    finished: string | null;
    durationMs: number;
    outcome: Outcome;
    /** Why the run ended early; empty when finished. */
    reason: string;
    /** Kernel release as the machine says it. */
    kernel: string;
    machine: string;
    /** As typed, program name first. */
    command: string[];
    /** Version of vfio-conformance. */
    version: string;
    environment: Environment;
    method: BenchMethod;
    interleaved: Interleaved | null;
    /** About the run as a whole. */
    warnings: BenchWarning[];
  };
  benchmarks: BenchResult[];
}

/** Nanoseconds. */
export interface LatencySummary {
  min: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
  mean: number;
  /** Median absolute deviation from the median. */
  mad: number;
  /** Bootstrap confidence intervals, by resampling whole rounds. */
  intervals: { p50: Interval; p90: Interval; p99: Interval };
}

/** One round of one benchmark. */
export interface BenchRound {
  /** ISO time by the supervisor's clock. */
  at: string;
  samples: number;
  /** Nanoseconds. */
  p50: number;
  p90: number;
  p99: number;
  /** Time that the hypervisor took away from this machine meanwhile, milliseconds. */
  stealMs: number;
  /** How often another thread took the processor meanwhile. */
  preemptions: number;
}

/** A sample far from the median; it is part of every figure. */
export interface Outlier {
  round: number;
  /** Number of the sample in its round. */
  index: number;
  ns: number;
}

/** The same operation measured by an independent C program in the same guest run. */
export interface Fidelity {
  samples: number;
  /** Nanoseconds: the C program's median. */
  p50: number;
  /** The benchmark's median over that of the C program, round by round; their median. */
  ratio: number;
  interval: Interval;
  /** How far the ratio may be from 1. */
  tolerance: number;
  /** Whether it is within that. */
  agrees: boolean;
}

/** One measured operation under one set of parameters. */
export interface BenchResult {
  /** Stable for ever: `container.dma.4k-pages.64MiB.warm.map`. */
  id: string;
  suite: string;
  /** The sentence of what is measured. */
  title: string;
  file: string;
  /** What is timed: `map`, `unmap`, `call`…: the last part of the id. */
  operation: string;
  /** Axes to plot along: `{ size: 67108864, pages: '4k', state: 'warm', iommu: 'type1v2', threads: 1 }`. */
  parameters: Record<string, string | number>;
  /** `pass` if there are figures. */
  status: Status;
  /** Why there are none (all missing requirements, or the failure); empty otherwise. */
  detail: string;
  units: BenchUnits;
  samples: number;
  /** Null without samples. */
  summary: LatencySummary | null;
  rounds: BenchRound[];
  /** The farthest, at most ten, the farthest first. */
  outliers: Outlier[];
  /** How many there are in all: samples beyond p50 + 10 MAD, and beyond 1.1 p50. */
  outlierCount: number;
  /** All samples in ns: HDR histogram, V2 compressed, base64; three significant digits. Empty without samples. */
  histogram: string;
  fidelity: Fidelity | null;
  warnings: BenchWarning[];
}
