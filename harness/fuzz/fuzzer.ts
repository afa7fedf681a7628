import { KernelError, Program } from '../shim/index.ts';
import { Batch, type Check, type Difference } from './batch.ts';
import type { Operation, Shape } from './operation.ts';

/** A kind of operation, of a fuzzer whose model and surroundings are a `Run`. */
export interface Kind<Run> extends Shape {
  /**
   * Adds the calls of one operation to the batch, tells the batch what the model says of the
   * answers, and moves the model on.
   */
  issue(run: Run, ...values: number[]): void;
}

/** What programs are run against: opened once, clean at the begin of each program. */
export interface Stage<Run> {
  /** A clean state, and the model of it. */
  begin(batch: Batch): Run;
  /** Runs the program otherwise than by running the batch: on several threads, for instance. */
  execute?(run: Run): void;
  /** What must hold after the program besides the answers; called if those were right. */
  end?(run: Run): ReturnType<Check>;
  /** Puts away what the program left, whatever its verdict. */
  tidy?(run: Run): void;
}

/** A fuzzer: what it does to the kernel, and what it knows about the answers. */
export interface Fuzzer<Run> {
  kinds: Readonly<Record<string, Kind<Run>>>;
  /** Operations in a program, at most. */
  longest: number;
}

/** Records of a batch that are allocated in advance: those of long programs. */
const RESERVED = { ops: 4096, arena: 1 << 18 };

let shared: Program | undefined;

/**
 * Runs one program and compares: null if the kernel did as the model says.
 * @param onExecuted gets the milliseconds that the calls themselves took.
 */
export function judge<Run>(
  { kinds }: Fuzzer<Run>,
  stage: Stage<Run>,
  operations: readonly Operation[],
  onExecuted: (milliseconds: number) => void = () => {},
): Difference | null {
  shared ??= new Program(RESERVED);
  const batch = new Batch(shared);
  const run = stage.begin(batch);
  for (const [index, { kind, values }] of operations.entries()) {
    batch.operation = index;
    kinds[kind]!.issue(run, ...values);
  }
  const begun = performance.now();
  if (stage.execute) stage.execute(run);
  else batch.run();
  onExecuted(performance.now() - begun);
  try {
    const difference = batch.difference();
    if (difference) return difference;
    const after = stage.end?.(run) ?? null;
    return after && { operation: null, ...after };
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    const observed = error.message;
    return { operation: null, what: 'a call after the program', expected: 'success', observed };
  } finally {
    stage.tidy?.(run);
  }
}
