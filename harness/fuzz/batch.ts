import type { Program } from '../shim/index.ts';
import { type Data, type Ref } from '../shim/index.ts';
import { errnoName } from '../abi/errno.ts';

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

const BIG_32 = 0x1_0000_0000;

/**
 * A fuzz program on its way through the shim: all of its calls in one {@link Program}, and beside
 * them what the model says about each answer. The model never sees an answer, so it cannot follow
 * the kernel into an error.
 */
export class Batch {
  readonly program: Program;
  /** The operation that is being issued. */
  operation = 0;
  readonly #refs: Ref[] = [];
  readonly #results: number[] = [];
  readonly #resultOf: number[] = [];
  readonly #words: { data: Data; offset: number; expected: number }[] = [];
  readonly #wordOf: number[] = [];
  readonly #checks: Check[] = [];
  readonly #checkOf: number[] = [];

  constructor(program: Program) {
    this.program = program.reset();
  }

  /** The call must return this: >= 0, or -errno. */
  expectResult(ref: Ref, expected: number): void {
    this.#refs.push(ref);
    this.#results.push(expected);
    this.#resultOf.push(this.operation);
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
    this.#words.push({ data, offset, expected });
    this.#wordOf.push(this.operation);
  }

  /** Anything else; called after the run, unless an earlier operation has failed. */
  check(check: Check): void {
    this.#checks.push(check);
    this.#checkOf.push(this.operation);
  }

  run(): void {
    this.program.run();
  }

  /** The first operation at which the kernel and the model part, after the run. */
  difference(): Difference | null {
    const { program } = this;
    let found: Difference | null = null;
    const isEarlier = (operation: number): boolean => operation < (found?.operation ?? Infinity);
    for (let index = 0; index < this.#refs.length; index++) {
      const observed = program.result(this.#refs[index]!);
      const expected = this.#results[index]!;
      if (observed === expected) continue;
      found = {
        operation: this.#resultOf[index]!,
        what: 'result',
        expected: resultText(expected),
        observed: resultText(observed),
      };
      break;
    }
    for (let index = 0; index < this.#words.length && isEarlier(this.#wordOf[index]!); index++) {
      const { data, offset, expected } = this.#words[index]!;
      const { bytes } = data;
      const observed = bytes.readUInt32LE(offset) + BIG_32 * bytes.readUInt32LE(offset + 4);
      if (observed === expected) continue;
      const operation = this.#wordOf[index]!;
      const what = `u64 at ${offset}`;
      found = { operation, what, expected: hex(expected), observed: hex(observed) };
      break;
    }
    for (let index = 0; index < this.#checks.length && isEarlier(this.#checkOf[index]!); index++) {
      const broken = this.#checks[index]!();
      if (broken) return { operation: this.#checkOf[index]!, ...broken };
    }
    return found;
  }
}

/** A result as people read it: a number, or the errno's name. */
export function resultText(result: number): string {
  return result >= 0 ? String(result) : errnoName(-result);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
