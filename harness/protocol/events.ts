/**
 * What the supervising side and the executing side both know: the lines of JSON that cross the
 * channel between them. Nothing here may import from either side.
 */

import type { BenchPlan, BenchRoundEvent } from './bench.ts';
import type { FuzzEvent, FuzzSlice } from './fuzz.ts';
import type { Risk } from './risks.ts';
import type { Failure } from './test.ts';

/** Bumped when a line's meaning changes; both sides refuse to talk across versions. */
export const PROTOCOL_VERSION = 1;

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
  /** `told`: false if the test made no call this time about which the lie could be told. */
  | { type: 'lie-end'; id: string; index: number; noticed: boolean; told: boolean }
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
