import { KernelError, Program, SAMPLE_SIZE, runParallel, type Ref } from '../shim/index.ts';
import { pinTo } from '../kernel/affinity.ts';
import { processors } from './processors.ts';

/**
 * Marks what has just been added to an iteration as timed: from the start of `first` to the end of
 * `last`. In a benchmark of one operation the name is ''.
 */
export type Timed = (name: string, first: Ref, last?: Ref) => void;

/** Adds one iteration to a program. @param thread number of the thread that will execute it */
export type DeclareIteration = (program: Program, timed: Timed, thread: number) => void;

export interface LoopOptions {
  /** Threads that iterate at once, each on a processor of its own as far as there are enough. */
  threads?: number;
  /**
   * Another thread's iteration; gives the operation whose end is the end of what is timed, in place
   * of the `last` of the first thread.
   */
  partner?: (program: Program) => Ref;
}

/** What can be measured: iterations, and samples taken in them. */
export interface Loop {
  /**
   * @param count iterations
   * @param delays nanoseconds to add to each sample, by name
   */
  run(count: number, delays?: ReadonlyMap<string, number>): LoopRun;
}

export interface LoopRun {
  /** Nanoseconds by name of the operation, in their order. */
  samples: Map<string, number[]>;
  /** Of all iterations. */
  durationNs: number;
  /** How often another thread took the processor of the first. */
  preemptions: number;
}

const RUSAGE_THREAD = 1;
/** struct rusage of <sys/resource.h>: its size, and where ru_nivcsw lies. */
const RUSAGE_SIZE = 144;
const RU_NIVCSW = 136;
const OPS = 32;
const ARENA = 8192;

/** A loop of operations of the kernel's, executed in C; each of the named operations is sampled. */
export class TimedLoop implements Loop {
  readonly #declare: DeclareIteration;
  readonly #names: readonly string[];
  readonly #options: LoopOptions;

  constructor(declare: DeclareIteration, names: readonly string[], options: LoopOptions) {
    this.#declare = declare;
    this.#names = names.length === 0 ? [''] : names;
    this.#options = options;
  }

  /**
   * @param count iterations of each thread
   * @param delays nanoseconds to add to each sample, by name
   * @throws KernelError if an operation fails
   */
  run(count: number, delays: ReadonlyMap<string, number> = new Map()): LoopRun {
    const { threads = 1, partner } = this.#options;
    const loops = Array.from({ length: threads }, (_, thread) => this.#loop(count, thread, delays));
    const second = partner && partnerLoop(partner, count);
    const all = second ? [...loops, second] : loops;
    if (all.length === 1) all[0]?.program.run();
    else runParallel(all.map(({ program }) => program));
    for (const { program } of all) mustHaveWorked(program);

    const ends = second && timesOf(second.samples.get('')!).ends;
    const samples = new Map(
      this.#names.map((name) => [
        name,
        loops.flatMap((loop) => durations(timesOf(loop.samples.get(name)!), ends)),
      ]),
    );
    const [{ program, repeat, usage }] = loops as [NativeLoop];
    const { start, end } = program.times(repeat);
    const switches = usage.map((data) => Number(data.bytes.readBigInt64LE(RU_NIVCSW)));
    return {
      samples,
      durationNs: Number(end - start),
      preemptions: (switches[1] ?? 0) - (switches[0] ?? 0),
    };
  }

  #loop(count: number, thread: number, delays: ReadonlyMap<string, number>): NativeLoop {
    const { threads = 1, partner } = this.#options;
    const program = newProgram(count, this.#names.length);
    if (threads > 1 || partner) pin(program, thread);
    const usage = [program.data(RUSAGE_SIZE), program.data(RUSAGE_SIZE)] as const;
    const samples = new Map(this.#names.map((name) => [name, program.data(count * SAMPLE_SIZE)]));
    program.syscall('getrusage', RUSAGE_THREAD, usage[0]);
    const begin = program.yield();
    let timedUpTo = begin.index;
    this.#declare(
      program,
      (name, first, last = first) => {
        const data = samples.get(name);
        if (!data) throw new Error(`the benchmark does not declare the operation '${name}'`);
        // Unless what lies between has figures of its own.
        if (first.index > timedUpTo) program.timeAsOne(first, last);
        timedUpTo = last.index;
        const delay = delays.get(name) ?? 0;
        program.sample(first, delay > 0 ? program.spin(Math.round(delay)) : last, data);
      },
      thread,
    );
    const repeat = program.repeat(begin, count);
    program.syscall('getrusage', RUSAGE_THREAD, usage[1]);
    return { program, samples, repeat, usage: [...usage] };
  }
}

interface NativeLoop {
  program: Program;
  samples: Map<string, ReturnType<Program['data']>>;
  repeat: Ref;
  usage: ReturnType<Program['data']>[];
}

function newProgram(count: number, operations: number): Program {
  return new Program({ ops: OPS, arena: ARENA + operations * count * SAMPLE_SIZE }).stopOnError();
}

function partnerLoop(partner: (program: Program) => Ref, count: number): NativeLoop {
  const program = newProgram(count, 1);
  pin(program, 1);
  const data = program.data(count * SAMPLE_SIZE);
  const begin = program.yield();
  const seen = partner(program);
  program.sample(seen, seen, data);
  const repeat = program.repeat(begin, count);
  return { program, samples: new Map([['', data]]), repeat, usage: [] };
}

/** Lets the thread that executes the program run on one processor: another one for each number. */
function pin(program: Program, thread: number): void {
  const { cpus, maskBytes } = processors();
  pinTo(program, cpus.at(-1 - (thread % cpus.length))!, maskBytes);
}

function mustHaveWorked(program: Program): void {
  if (program.executed === program.length) return;
  for (let index = 0; index < program.length; index++) {
    const { name, result, count } = program.op(index);
    if (count > 0n && result < 0n) throw new KernelError(Number(result), `the benchmark's ${name}`);
  }
}

function timesOf(data: { bytes: Buffer }): { starts: bigint[]; ends: bigint[] } {
  const starts: bigint[] = [];
  const ends: bigint[] = [];
  for (let at = 0; at < data.bytes.length; at += SAMPLE_SIZE) {
    starts.push(data.bytes.readBigUInt64LE(at));
    ends.push(data.bytes.readBigUInt64LE(at + 8));
  }
  return { starts, ends };
}

function durations({ starts, ends }: ReturnType<typeof timesOf>, otherEnds?: bigint[]): number[] {
  return starts.map((start, index) => Number((otherEnds ?? ends)[index]! - start));
}
