/** What both sides know of fuzzing. */
import type { Failure } from './test.ts';

/** A piece of a fuzzing campaign: programs of one fuzzer and one seed. */
export interface FuzzSlice {
  /** Within the campaign. */
  number: number;
  id: string;
  seed: number;
  /** Number of the first program. */
  from: number;
  /** Number of the program before which to end; null: none, and programs may be variations of others. */
  to: number | null;
  /** After how long no further program is begun; null: never. */
  milliseconds: number | null;
  /** This program instead of those of the seed. */
  program: string | null;
}

/** What a worker tells of the slices that it works on. */
export type FuzzEvent =
  /** A fuzzer begins a slice of its work. */
  | { type: 'fuzz-begin'; id: string; slice: number }
  /** It runs program `index` of the slice's seed; `program` where the seed alone does not tell it. */
  | { type: 'fuzz-program'; index: number; program: string | null }
  | { type: 'fuzz-progress'; id: string; programs: number; operations: number }
  /** What a program showed: a failure with everything that a failure has. */
  | {
      type: 'fuzz-finding';
      id: string;
      index: number;
      /** What `fuzz --replay` takes: the shortest program that shows it, or where it comes from. */
      program: string;
      /** Deaths are found out by the supervisor; then the program is that of the seed, and `program` is empty. */
      status: 'fail' | 'error' | 'crash' | 'timeout';
      seed: number;
      durationMs: number;
      failure: Failure;
      kernelLog: string[];
    }
  /** All of a slice is done; `skip` says why nothing of it could be. */
  | {
      type: 'fuzz-end';
      id: string;
      slice: number;
      programs: number;
      operations: number;
      /** Milliseconds of all that a program takes, and of its calls alone. */
      durationMs: number;
      executionMs: number;
      skip: string[];
      /** Functions of VFIO's, of this session so far; null if the kernel does not tell. */
      functions: { reached: string[]; unreached: string[] } | null;
    };
