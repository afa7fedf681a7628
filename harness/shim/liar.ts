/**
 * The liar falsifies what the kernel answered, before anybody sees it. The assertion audit uses it
 * to find answers that no assertion looks at: a test that passes with a false answer is blind.
 */
import type { ProgramMemory } from './program-memory.ts';

export interface Answer {
  /** Number of the run, counted from 0 since setLiar(). */
  run: number;
  /** Index of an operation that was executed in it. */
  op: number;
  /** To look at (op(), arenaBytes()) and to alter (forgeResult(), forgeValue(), arenaBytes()). */
  program: ProgramMemory;
}

export type Liar = (answer: Answer) => void;

let liar: Liar | null = null;
let runs = 0;

/** Installs the liar (null: removes it) and starts counting runs anew. */
export function setLiar(next: Liar | null): void {
  liar = next;
  runs = 0;
}

/** Called after each run, once for each operation that was executed. */
export function tellLiar(program: ProgramMemory): void {
  if (liar === null) return;
  const run = runs++;
  for (let op = 0; op < program.executed; op++) liar({ run, op, program });
}
