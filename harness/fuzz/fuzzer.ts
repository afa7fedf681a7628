import { KernelError, Program, recorder } from '../shim/index.ts';
import { Batch, type Check, type Difference } from './batch.ts';
import type { Operation, Shape } from './operation.ts';

/** A kind of operation with up to eight fields, of a fuzzer whose model and surroundings are a `Run`. */
export interface Kind<Run> extends Shape {
  /**
   * Adds the calls of one operation to the batch, tells the batch what the model says of the
   * answers, and moves the model on.
   */
  issue(run: Run, ...values: (number | undefined)[]): void;
}

/** What programs are run against: opened once, clean at the begin of each program. */
export interface Stage<Run> {
  /** A clean state, and the model of it. */
  begin(batch: Batch): Run;
  /** Adds what every program ends with; {@link Batch.operation} is then that behind the last. */
  close?(run: Run): void;
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

/** What is allocated in advance: with room for the longest programs, none of them has to be copied together. */
const RESERVED = { ops: 8192, arena: 1 << 20 };

let shared: Batch | undefined;

/** Who is told of a program on its way. */
export interface JudgeHandlers {
  /** Gets the calls before they are executed. */
  onIssued?(program: Program): void;
  /** Gets the milliseconds that the calls themselves took. */
  onExecuted?(milliseconds: number): void;
}

/** Not spread, nor read beyond their end: either costs as much as the call that comes of it. */
function issue<Run>(kind: Kind<Run>, run: Run, v: readonly number[]): void {
  switch (v.length) {
    case 0:
      return kind.issue(run);
    case 1:
      return kind.issue(run, v[0]);
    case 2:
      return kind.issue(run, v[0], v[1]);
    case 3:
      return kind.issue(run, v[0], v[1], v[2]);
    case 4:
      return kind.issue(run, v[0], v[1], v[2], v[3]);
    default:
      return kind.issue(run, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
  }
}

/** Runs one program and compares: null if the kernel did as the model says. */
export function judge<Run>(
  { kinds }: Fuzzer<Run>,
  stage: Stage<Run>,
  operations: readonly Operation[],
  { onIssued, onExecuted }: JudgeHandlers = {},
): Difference | null {
  const batch = (shared ??= new Batch(new Program(RESERVED))).reset();
  if (!recorder.recording) batch.program.untimed();
  const run = stage.begin(batch);
  for (let index = 0; index < operations.length; index++) {
    const { kind, values } = operations[index]!;
    batch.operation = index;
    issue(kinds[kind]!, run, values);
  }
  batch.operation = operations.length;
  stage.close?.(run);
  onIssued?.(batch.program);
  const begun = performance.now();
  if (stage.execute) stage.execute(run);
  else batch.run();
  onExecuted?.(performance.now() - begun);
  try {
    const difference = batch.difference();
    if (difference) {
      const isWithin = difference.operation !== null && difference.operation < operations.length;
      return { ...difference, operation: isWithin ? difference.operation : null };
    }
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
