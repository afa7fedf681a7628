/**
 * What the supervising side and the executing side both know: the lines of JSON that cross the
 * channel between them, and the metadata of a test. Nothing here may import from either side.
 */

import type { BenchPlan, BenchRoundEvent } from './bench.ts';
import type { FuzzEvent, FuzzSlice } from './fuzz.ts';
import type { Risk } from './risks.ts';

/** Bumped when a line's meaning changes; both sides refuse to talk across versions. */
export const PROTOCOL_VERSION = 1;

/** How a test ended. `xfail` and `xpass` are given by the supervisor, from the expectation files. */
export type Status = 'pass' | 'fail' | 'error' | 'skip' | 'crash' | 'timeout' | 'xfail' | 'xpass';

/** The metadata of one test; static data, known without root, device or kernel. */
export interface TestMeta {
  /** Stable and dotted, the suite first: `container.map-dma.overlap`, with `@kind` for a device kind. */
  id: string;
  suite: string;
  /** A sentence of the specification. */
  title: string;
  /** Path of the suite file, relative to the project. */
  file: string;
  /** uAPI items: `VFIO_IOMMU_MAP_DMA`, `VFIO_IOMMU_MAP_DMA:EEXIST`, `VFIO_IOMMU_MAP_DMA:flag:VFIO_DMA_MAP_FLAG_READ`. */
  covers: string[];
  /** Where the promise is made: header, document or kernel file and function. */
  source: string[];
  /** First kernel version that makes the promise. */
  since?: string;
  /** First kernel version that no longer makes it. */
  until?: string;
  /** Commits and CVEs whose absence this test would show. */
  fixes: string[];
  /** Names of requirements, as `vfio-conformance show` prints them. */
  needs: string[];
  /** Rows of the peers' checks that this test covers: `S13`, `A2`, `L7`. */
  peer: string[];
  /** Milliseconds after which the supervisor takes the test for hung, before scaling. */
  timeoutMs: number;
}

/** Why a test did not pass, in words that need nothing else. */
export interface Failure {
  /** `assertion`: the kernel broke a promise; `kernel-log`: it complained; `leak`: the test left something behind; `setup`: a fixture broke. */
  kind: 'assertion' | 'kernel-log' | 'leak' | 'setup' | 'death';
  message: string;
  expected?: string;
  observed?: string;
  stack?: string;
  /** Decoded system calls of the test, oldest first. */
  calls: string[];
  /** What to try next: `you may be missing commit …`. */
  hints: string[];
  /** A standalone C program that issues the same calls. */
  reproducer?: string;
}

/** Facts about the machine that runs the tests, kept in every report. */
export type Environment = Record<string, string | number | boolean | string[]>;

export type WorkerEvent =
  | { type: 'hello'; protocol: number; environment: Environment }
  | { type: 'test-begin'; id: string; nonce: string }
  | {
      type: 'test-end';
      id: string;
      status: 'pass' | 'fail' | 'error' | 'skip';
      durationMs: number;
      /** All missing requirements; only with `skip`. */
      skip: string[];
      failure?: Failure;
      /** Kernel log records between begin and end. */
      kernelLog: string[];
    }
  /** The worker cannot go on (something could not be restored); it ends after this line. */
  | { type: 'abort'; reason: string }
  /** Asks the supervisor for what only the outside can do; the worker blocks until the {@link Reply}. */
  | { type: 'request'; seq: number; action: string; args: Record<string, unknown> }
  /** An audit: `lies` false answers can be told about this test. */
  | { type: 'audit-plan'; id: string; lies: number }
  | { type: 'lie-begin'; id: string; index: number; text: string }
  | { type: 'lie-end'; id: string; index: number; noticed: boolean }
  | { type: 'audit-end'; id: string; reason: string | null }
  | BenchRoundEvent
  | FuzzEvent
  | { type: 'log'; text: string }
  | { type: 'bye' };

/** The supervisor's first line to the worker. */
export interface Assignment {
  type: 'assignment';
  protocol: number;
  /** Ids in the order in which to run them. */
  tests: string[];
  /** Instead of running the tests: lie to each about one answer at a time, from lie `from` of the first test on, at most `most` lies a test. */
  audit?: { from: number; most: number };
  /** Instead: the ids are those of benchmarks, to be measured like this. */
  bench?: BenchPlan;
  /** Instead of running the tests: these pieces of a fuzzing campaign, in their order. */
  fuzz?: FuzzSlice[];
  /** `vm`: devices by role, any of them may be rebound. `local`: only `devices`, which are bound to vfio-pci already. */
  mode: 'vm' | 'local';
  /** Role name → path of `slot.function` steps from the root bus, e.g. `['04.0', '00.0']`. VM only. */
  roles: Record<string, string[]>;
  /** BDFs handed over by the user. Local only. */
  devices: string[];
  /** What the target can do from outside: `qmp-aer`, `device-del`, … */
  abilities: string[];
  /** Bytes that a test may take; no limit if it is missing. */
  memoryBytes?: number;
  /** What the user allows the tests to do to this machine beyond using the devices. */
  allowed: Risk[];
  /** A file, or a device's memory, in which the worker's last calls outlive it. */
  blackBox: { path: string; size: number };
}

/** What a black box tells about a test that its worker or its kernel did not survive. */
export type LastCalls = Pick<Failure, 'calls' | 'reproducer'>;

/** The supervisor's answer to a request. */
export interface Reply {
  type: 'reply';
  seq: number;
  ok: boolean;
  result?: unknown;
  error?: string;
}

/** One JSON value a line; a newline never occurs inside. */
export function encodeLine(message: WorkerEvent | Assignment | Reply): string {
  return JSON.stringify(message) + '\n';
}
