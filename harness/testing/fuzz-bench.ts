import { judge } from '../fuzz/fuzzer.ts';
import type { Operation } from '../fuzz/operation.ts';
import { ProgramArbitrary } from '../fuzz/program-arbitrary.ts';
import { programAt } from '../fuzz/search.ts';
import type { Program } from '../shim/index.ts';
import { bench } from './bench.ts';
import { onStage, type DeclaredFuzzer, type FuzzOptions } from './fuzz.ts';
import type { Reference } from './reference.ts';
import type { Loop, LoopRun } from './timed-loop.ts';

type FuzzStage = ReturnType<DeclaredFuzzer['stage']>;

const SEED = 1;
/** Programs of a sample: long ones and short ones. */
const TOGETHER = 10;
/** Samples until the JavaScript engine has compiled what they need: campaigns run thousands. */
const WARM_UP = 5;
const NS_PER_MS = 1e6;

/**
 * Declares the benchmark of a fuzzer. A sample is the time that programs take from their making to their
 * verdict, divided by their operations; it is compared with a C program that issues the calls of one of
 * them and looks at nothing.
 * @param tolerance how much longer the fuzzer may take, as a part of what the C program takes
 */
export function benchFuzzer<Run>(
  id: string,
  title: string,
  { device, uses, needs, ...options }: FuzzOptions<Run>,
  tolerance: number,
): void {
  const fuzzer = options as unknown as DeclaredFuzzer;
  const same = { ...(device && { device }), ...(uses && { uses }), ...(needs && { needs }) };
  bench(id, title, { ...same, tolerance }, (context, measure) =>
    onStage(context, fuzzer, (stage) => {
      const loop = new FuzzLoop(fuzzer, stage);
      loop.run(WARM_UP);
      measure(loop, { reference: () => loop.reference() });
    }),
  );
}

/** Programs of a seed, one after the other. */
class FuzzLoop implements Loop {
  readonly #fuzzer: DeclaredFuzzer;
  readonly #stage: FuzzStage;
  readonly #programs: ProgramArbitrary;
  #next = 0;

  constructor(fuzzer: DeclaredFuzzer, stage: FuzzStage) {
    this.#fuzzer = fuzzer;
    this.#stage = stage;
    this.#programs = new ProgramArbitrary(fuzzer.kinds, fuzzer.longest);
  }

  run(count: number): LoopRun {
    const samples = Array.from({ length: count }, () => this.#sample());
    return {
      samples: new Map([['', samples.map(({ ns, operations }) => ns / operations)]]),
      durationNs: samples.reduce((sum, { ns }) => sum + ns, 0),
      preemptions: 0,
    };
  }

  #sample(): { ns: number; operations: number } {
    let operations = 0;
    const begun = performance.now();
    for (let programs = 0; programs < TOGETHER; programs++) {
      operations += this.#judge(this.#next++);
    }
    return { ns: (performance.now() - begun) * NS_PER_MS, operations };
  }

  /** Operations of the program. */
  #judge(index: number): number {
    const operations = programAt(this.#programs, SEED, index);
    const difference = judge(this.#fuzzer, this.#stage, operations);
    if (difference) throw new Error(`${difference.what}: expected ${difference.expected}`);
    return operations.length;
  }

  /** The C program, with the calls of the long program that was run last. */
  reference(): Reference {
    const operations = this.#lastLong();
    let input: Buffer = Buffer.alloc(0);
    judge(this.#fuzzer, this.#stage, operations, {
      onIssued: (program) => (input = blockOf(program)),
    });
    return { args: ['replay', operations.length], fds: 'same', input };
  }

  /** In a short one, what every program begins with would take its part. */
  #lastLong(): readonly Operation[] {
    for (let index = this.#next - 1; ; index--) {
      const operations = programAt(this.#programs, SEED, index);
      if (operations.length >= this.#fuzzer.longest / 2) return operations;
    }
  }
}

function blockOf(program: Program): Buffer {
  const block = Buffer.alloc(program.blockSize);
  program.writeBlock(block);
  return block;
}
