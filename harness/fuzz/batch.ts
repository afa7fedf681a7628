import type { Program } from '../shim/index.ts';
import { type Data, type Ref } from '../shim/index.ts';
import { ERRNO, errnoName } from '../abi/errno.ts';
import { Expectations } from './expectations.ts';

/** Where the kernel did otherwise than the model said. */
export interface Difference {
  /** Index of the operation; null if it showed only after all of them. */
  operation: number | null;
  what: string;
  expected: string;
  observed: string;
}

/** What {@link Batch.check} returns: null if all is as it must be. */
export type Check = () => Omit<Difference, 'operation'> | null;

/** A {@link Check}, and the operation that it belongs to. */
interface Checked {
  check: Check;
  operation: number;
}

/**
 * A fuzz program on its way through the shim: all of its calls in one {@link Program}, and beside
 * them what the model says about each answer. The model never sees an answer, so it cannot follow
 * the kernel into an error.
 */
export class Batch {
  readonly program: Program;
  /** The operation that is being issued. */
  operation = 0;
  readonly #results = new Expectations();
  readonly #words = new Expectations();
  #checks: Checked[] = [];

  constructor(program: Program) {
    this.program = program;
  }

  /** Empties the batch: refs and data of before must not be used again. */
  reset(): this {
    this.program.reset();
    this.operation = 0;
    this.#results.clear();
    this.#words.clear();
    this.#checks = [];
    return this;
  }

  /** The call must return this: >= 0, or -errno. */
  expectResult(ref: Ref, expected: number): void {
    this.#results.add(ref.index, this.operation, expected);
  }

  /** The call must return a descriptor, whatever its number. */
  expectDescriptor(ref: Ref): void {
    this.check(() => {
      const result = this.program.result(ref);
      if (result >= 0) return null;
      return { what: 'result', expected: 'a descriptor', observed: resultText(result) };
    });
  }

  /** The u64 at `offset` of the data must be this afterwards, a safe integer. */
  expectU64(data: Data, offset: number, expected: number): void {
    this.#words.add(data.offset + offset, this.operation, expected);
  }

  /** Anything else; called after the run, unless an earlier operation has failed. */
  check(check: Check): void {
    this.#checks.push({ check, operation: this.operation });
  }

  run(): void {
    this.program.run();
  }

  /** The first operation at which the kernel and the model part, after the run. */
  difference(): Difference | null {
    const { program } = this;
    let found: Difference | null = null;
    const result = this.#results.firstBroken(Infinity, (index) => program.resultAt(index));
    if (result) {
      const { operation, place, expected } = result;
      const observed = resultText(program.resultAt(place));
      found = { operation, what: 'result', expected: resultText(expected), observed };
    }
    const word = this.#words.firstBroken(found?.operation ?? Infinity, (place) =>
      program.arenaU64(place),
    );
    if (word) {
      const { operation, place, expected } = word;
      const observed = hex(program.arenaU64(place));
      found = { operation, what: 'u64 in the argument', expected: hex(expected), observed };
    }
    for (const { check, operation } of this.#checks) {
      if (operation >= (found?.operation ?? Infinity)) break;
      const broken = check();
      if (broken) return { operation, ...broken };
    }
    return found;
  }
}

/** The greatest errno that user space may see; larger ones are the kernel's own business. */
export const LAST_ERRNO = ERRNO.EHWPOISON;

/** What no call may return, whatever was asked for: null if no operation of the program has. */
export function strangeResult(program: Program): ReturnType<Check> {
  for (let index = 0; index < program.length; index++) {
    const result = program.resultAt(index);
    if (result >= -LAST_ERRNO) continue;
    const what = `result of call ${index + 1}`;
    return { what, expected: 'an errno of user space', observed: String(result) };
  }
  return null;
}

/** A result as people read it: a number, or the errno's name. */
export function resultText(result: number): string {
  return result >= 0 ? String(result) : errnoName(-result);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
