import type { Difference } from '../fuzz/batch.ts';
import { judge, type Fuzzer, type Stage } from '../fuzz/fuzzer.ts';
import {
  parseProgram,
  partsOf,
  printOperation,
  printProgram,
  type Operation,
} from '../fuzz/operation.ts';
import { examine, search, type Finding } from '../fuzz/search.ts';
import { KernelLog } from '../kernel/kmsg.ts';
import { complaints } from '../kernel/log-patterns.ts';
import { recorder } from '../shim/index.ts';
import { TestContext } from './context.ts';
import { corpusOf } from './corpus.ts';
import type { TestOptions } from './declare.ts';
import { Teardown } from './teardown.ts';
import { test } from './test.ts';

/** A fuzzer as its author declares it, beside the metadata of the test that runs it for a while. */
export interface FuzzOptions<Run> extends TestOptions, Fuzzer<Run> {
  /** Programs of the fixed seed that ordinary runs execute. */
  programs: number;
  /** Opens what programs run against; undone like any fixture. */
  stage(context: TestContext): Stage<Run>;
}

/** A declared fuzzer; what its operations work on is its own business. */
export type DeclaredFuzzer = FuzzOptions<never>;

/** A program that is to be shown to fail. */
export interface Suspect {
  operations: readonly Operation[];
  /** Where the program comes from, for people. */
  origin: string;
  /** What `fuzz --replay` takes to run it again. */
  replay: string;
  /** How it failed before, if it did. */
  difference: Difference | null;
}

/** The seed of ordinary runs: the same programs on every machine, however fast it is. */
const RUN_SEED = 1;

/** Some seconds of programs, and as many executions as a failure takes to shrink. */
const TIMEOUT_MS = 180_000;

const declared = new Map<string, DeclaredFuzzer>();

/** The fuzzer behind a test, or undefined if the test is none. */
export function fuzzerOf(id: string): DeclaredFuzzer | undefined {
  return declared.get(id);
}

/**
 * Declares a fuzzer. It is a test as well: `run` replays its corpus and executes the first programs of
 * a fixed seed.
 */
export function fuzz<Run>(id: string, title: string, options: FuzzOptions<Run>): void {
  const fuzzer = options as unknown as DeclaredFuzzer;
  const idOf = (role: string) => (options.devices ? `${id}@${role}` : id);
  for (const name of options.devices?.map(idOf) ?? [id]) declared.set(name, fuzzer);
  const risks = ['fuzz', ...(options.risks ?? [])] as const;
  test(id, title, { timeoutMs: TIMEOUT_MS, ...options, risks }, (context) => {
    const name = idOf(context.role);
    const suspect = onStage(context, fuzzer, (stage) => {
      for (const { file, text } of corpusOf(id)) {
        const finding = examine(fuzzer, stage, 0, parseProgram(fuzzer.kinds, text));
        if (finding) return suspectOf(fuzzer, finding, file);
      }
      const finding = search(fuzzer, stage, { seed: RUN_SEED, from: 0, to: options.programs });
      return finding && suspectOf(fuzzer, finding, `${RUN_SEED}:${finding.index}`);
    });
    if (suspect) replay(context, name, suspect);
  });
}

/**
 * What a finding leaves to be shown.
 * @param source of the program: `SEED:NUMBER`, or its file in the corpus
 */
export function suspectOf(
  { kinds }: DeclaredFuzzer,
  { found, shortest, difference, repeatable }: Finding,
  source: string,
): Suspect {
  const shrunk = shortest.length < found.length ? `, shrunk from ${found.length} operations` : '';
  return {
    operations: shortest,
    origin: source + shrunk,
    // What showed but once cannot be shrunk, and is too long to be told.
    replay: repeatable ? printProgram(kinds, shortest) : source,
    difference,
  };
}

/**
 * Lends a stage to `use`, unrecorded: of thousands of programs, only the one that fails is told. What
 * the kernel complains about during a program is that program's failure.
 */
export function onStage<T>(
  context: TestContext,
  fuzzer: DeclaredFuzzer,
  use: (stage: Stage<never>) => T,
): T {
  recorder.take();
  const teardown = new Teardown();
  const provoked = [...(fuzzer.provokes ?? [])];
  const log = KernelLog.open();
  try {
    const stage = fuzzer.stage(new TestContext(context.role, teardown, provoked));
    context.provokes(...provoked);
    return use(log ? watched(stage, log, provoked) : stage);
  } finally {
    for (const error of teardown.run()) {
      context.defer(() => {
        throw error;
      });
    }
    log?.close();
  }
}

/** A stage on which no program may make the kernel complain. */
function watched<Run>(stage: Stage<Run>, log: KernelLog, provoked: readonly RegExp[]): Stage<Run> {
  return {
    begin: (batch) => {
      // The black box has room for one program: that which the kernel does not survive.
      recorder.begin();
      recorder.take();
      return stage.begin(batch);
    },
    ...(stage.close && { close: (run) => stage.close?.(run) }),
    ...(stage.execute && { execute: (run) => stage.execute?.(run) }),
    end: (run) => {
      const difference = stage.end?.(run) ?? null;
      const [complaint] = complaints(log.drain(), provoked);
      if (complaint === undefined) return difference;
      return { what: 'the kernel complained', expected: 'silence', observed: complaint };
    },
    tidy: (run) => stage.tidy?.(run),
  };
}

/**
 * Runs a program on a fresh stage, recorded from the first call on.
 * @throws FuzzFailure if the kernel fails it, now or before
 */
export function replay(context: TestContext, id: string, suspect: Suspect): void {
  const fuzzer = fuzzerOf(id);
  if (!fuzzer) throw new Error(`'${id}' is no fuzzer`);
  recorder.begin();
  // A call that is to be read needs a line of its own.
  const operations = suspect.operations.flatMap((operation) => partsOf(fuzzer.kinds, operation));
  const difference = judge(fuzzer, fuzzer.stage(context), operations);
  if (difference) throw new FuzzFailure(id, fuzzer, { ...suspect, operations }, difference, true);
  if (suspect.difference) throw new FuzzFailure(id, fuzzer, suspect, suspect.difference, false);
}

/** The kernel did otherwise than the model of a fuzzer says. */
class FuzzFailure extends Error {
  readonly actual: string;
  readonly expected: string;

  constructor(
    id: string,
    { kinds }: DeclaredFuzzer,
    { operations, origin, replay: program }: Suspect,
    { operation, what, expected, observed }: Difference,
    isRepeatable: boolean,
  ) {
    const step = operation === null ? undefined : operations[operation];
    const lines = [
      `${step?.kind ?? 'after the program'}: ${what}: expected ${expected}, observed ${observed}`,
      ...(step
        ? [`operation ${operation! + 1} of ${operations.length}: ${printOperation(kinds, step)}`]
        : []),
      `found by ${origin}${isRepeatable ? '' : '; alone, on a fresh stage, the program does no harm'}`,
      `replay: npx vfio-conformance fuzz ${id} --replay '${program}'`,
    ];
    super(lines.join('\n'));
    this.name = 'FuzzFailure';
    this.actual = observed;
    this.expected = expected;
  }
}
