import * as fc from 'fast-check';
import type { Difference } from './batch.ts';
import { judge, type Fuzzer, type JudgeHandlers, type Stage } from './fuzzer.ts';
import type { Operation } from './operation.ts';
import { ProgramArbitrary } from './program-arbitrary.ts';

/** A program on which the kernel and the model part. */
export interface Finding {
  /** Number of the program within its seed. */
  index: number;
  /** The program as it was found. */
  found: readonly Operation[];
  /** The shortest program that still shows it; `found` if it did not show again. */
  shortest: readonly Operation[];
  repeatable: boolean;
  difference: Difference;
}

/** Executions that the search for a shorter program may cost: a number, so that the verdict does not depend on time. */
const MOST_SHRINKS = 500;

/** The program number `index` of a seed: the same one on every machine. */
export function programAt(
  programs: ProgramArbitrary,
  seed: number,
  index: number,
): readonly Operation[] {
  // Neighbouring seeds of fast-check's must not share programs.
  const mixed = Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b);
  return fc.sample(programs, { seed: mixed, numRuns: 1 })[0]!;
}

/** A failing program → the shortest one that still fails. */
export function shrink<Run>(
  fuzzer: Fuzzer<Run>,
  stage: Stage<Run>,
  found: readonly Operation[],
): { shortest: readonly Operation[]; repeatable: boolean } {
  let executions = 0;
  const programs = new ProgramArbitrary(fuzzer.kinds, fuzzer.longest);
  const holds = fc.property(
    programs,
    (operations) => executions++ >= MOST_SHRINKS || judge(fuzzer, stage, operations) === null,
  );
  const { counterexample } = fc.check(holds, { examples: [[found]], numRuns: 1, seed: 0 });
  return { shortest: counterexample?.[0] ?? found, repeatable: counterexample !== null };
}

/** Judges a program; if the kernel fails it, finds the shortest that shows the same. */
export function examine<Run>(
  fuzzer: Fuzzer<Run>,
  stage: Stage<Run>,
  index: number,
  operations: readonly Operation[],
  handlers?: JudgeHandlers,
): Finding | null {
  const difference = judge(fuzzer, stage, operations, handlers);
  if (!difference) return null;
  return { index, found: operations, difference, ...shrink(fuzzer, stage, operations) };
}

/** Runs the programs `from` to before `to` of a seed, until one fails. */
export function search<Run>(
  fuzzer: Fuzzer<Run>,
  stage: Stage<Run>,
  { seed, from, to }: { seed: number; from: number; to: number },
): Finding | null {
  const programs = new ProgramArbitrary(fuzzer.kinds, fuzzer.longest);
  for (let index = from; index < to; index++) {
    const finding = examine(fuzzer, stage, index, programAt(programs, seed, index));
    if (finding) return finding;
  }
  return null;
}
