import type { FuzzEvent, FuzzSlice } from '../protocol/fuzz.ts';
import { parseProgram, printProgram, type Operation } from '../fuzz/operation.ts';
import { ProgramArbitrary } from '../fuzz/program-arbitrary.ts';
import { examine, programAt } from '../fuzz/search.ts';
import { beginCoverage, type Coverage } from '../kernel/coverage.ts';
import type { TestContext } from '../testing/context.ts';
import { runCase } from '../testing/execute.ts';
import {
  fuzzerOf,
  onStage,
  replay,
  suspectOf,
  type DeclaredFuzzer,
  type Suspect,
} from '../testing/fuzz.ts';
import type { Case } from '../testing/registry.ts';

/** A slice in which so many programs fail shows nothing new by more. */
const MOST_FINDINGS = 3;
const PROGRESS_MS = 1000;

/** One slice of a fuzzing campaign on its way through this worker. */
class SliceRun {
  readonly #case: Case;
  readonly #slice: FuzzSlice;
  readonly #fuzzer: DeclaredFuzzer;
  readonly #programs: ProgramArbitrary;
  readonly #send: (event: FuzzEvent) => void;
  readonly #end: number;
  #next: number;
  /** Programs that reached something for the first time. */
  readonly #kept: (readonly Operation[])[] = [];
  readonly #coverage: Coverage | null;
  /** What runs the last program again. */
  #replay = '';
  #told = 0;
  programs = 0;
  operations = 0;
  durationMs = 0;
  executionMs = 0;

  constructor(
    testCase: Case,
    slice: FuzzSlice,
    coverage: Coverage | null,
    send: (event: FuzzEvent) => void,
  ) {
    const fuzzer = fuzzerOf(slice.id);
    if (!fuzzer) throw new Error(`'${slice.id}' is no fuzzer`);
    this.#case = testCase;
    this.#slice = slice;
    this.#fuzzer = fuzzer;
    this.#programs = new ProgramArbitrary(fuzzer.kinds, fuzzer.longest);
    this.#coverage = coverage;
    this.#send = send;
    this.#end = slice.milliseconds === null ? Infinity : Date.now() + slice.milliseconds;
    this.#next = slice.from;
  }

  /** Runs programs until the slice is done: the reasons for a skip, and why no other may follow. */
  run(): { skip: string[]; abort?: string } {
    for (let findings = 0; findings < MOST_FINDINGS && this.#isUnfinished(); findings++) {
      const before = this.#next;
      const { status, skip, failure, kernelLog, durationMs, abort } = runCase({
        ...this.#case,
        body: (context) => this.#untilFinding(context),
      });
      if (status === 'skip') return { skip };
      if (failure && status !== 'pass') {
        const program = this.#replay;
        const index = Math.max(0, this.#next - 1);
        const { id, seed } = this.#slice;
        const found = { id, seed, index, program, status, durationMs, failure, kernelLog };
        this.#send({ type: 'fuzz-finding', ...found });
      }
      if (abort !== undefined) return { skip: [], abort };
      if (this.#next === before) break;
    }
    return { skip: [] };
  }

  /** However long the set-up took, there is time for one program. */
  #isUnfinished(): boolean {
    const { to } = this.#slice;
    const isTime = this.programs === 0 || Date.now() < this.#end;
    return (to === null || this.#next < to) && isTime;
  }

  #untilFinding(context: TestContext): void {
    const { id, program } = this.#slice;
    const suspect =
      program === null
        ? onStage(context, this.#fuzzer, (stage) => this.#search(stage))
        : this.#given(program);
    if (!suspect) return;
    this.#replay = suspect.replay;
    replay(context, id, suspect);
  }

  #given(text: string): Suspect {
    this.#next++;
    this.programs++;
    const operations = parseProgram(this.#fuzzer.kinds, text);
    this.operations += operations.length;
    return { operations, origin: '--replay', replay: text, difference: null };
  }

  #search(stage: ReturnType<DeclaredFuzzer['stage']>): Suspect | null {
    while (this.#isUnfinished()) {
      const index = this.#next++;
      this.#replay = `${this.#slice.seed}:${index}`;
      const begun = performance.now();
      const operations = this.#choose(index);
      const finding = examine(this.#fuzzer, stage, index, operations, {
        onExecuted: (milliseconds) => (this.executionMs += milliseconds),
      });
      if (this.#coverage?.isFresh()) this.#kept.push(operations);
      this.programs++;
      this.operations += operations.length;
      this.#tellProgress();
      if (!finding) this.durationMs += performance.now() - begun;
      if (finding) return suspectOf(this.#fuzzer, finding, this.#replay);
    }
    return null;
  }

  /** The seed's program, or every other time a variation of one that reached something new. */
  #choose(index: number): readonly Operation[] {
    const { seed, to } = this.#slice;
    const own = programAt(this.#programs, seed, index);
    const parent = this.#kept[(index >> 1) % Math.max(1, this.#kept.length)];
    if (to !== null || index % 2 === 0 || !parent) {
      this.#send({ type: 'fuzz-program', index, program: null });
      return own;
    }
    const varied = this.#programs.vary(parent, own, index);
    const program = printProgram(this.#fuzzer.kinds, varied);
    this.#replay = program;
    this.#send({ type: 'fuzz-program', index, program });
    return varied;
  }

  #tellProgress(): void {
    if (Date.now() - this.#told < PROGRESS_MS) return;
    this.#told = Date.now();
    const { programs, operations } = this;
    this.#send({ type: 'fuzz-progress', id: this.#slice.id, programs, operations });
  }
}

/**
 * Executes slices of a fuzzing campaign in their order.
 * @returns why the session has to end before all are done, or null
 */
export function runSlices(
  cases: ReadonlyMap<string, Case>,
  slices: readonly FuzzSlice[],
  send: (event: FuzzEvent) => void,
): string | null {
  const coverage = beginCoverage();
  try {
    for (const slice of slices) {
      const { id, number } = slice;
      const testCase = cases.get(id);
      if (!testCase) throw new Error(`there is no test '${id}'`);
      send({ type: 'fuzz-begin', id, slice: number });
      const run = new SliceRun(testCase, slice, coverage, send);
      const { skip, abort } = run.run();
      if (abort !== undefined) return `after ${id}: ${abort}`;
      const { programs, operations, durationMs, executionMs } = run;
      const functions = coverage && {
        reached: coverage.reached,
        unreached: coverage.unreached,
      };
      const work = { programs, operations, durationMs, executionMs };
      send({ type: 'fuzz-end', id, slice: number, ...work, skip, functions });
    }
    return null;
  } finally {
    coverage?.end();
  }
}
