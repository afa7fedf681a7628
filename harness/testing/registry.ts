import type { BenchMeta } from '../protocol/bench.ts';
import type { TestMeta } from '../protocol/test.ts';
import type { TestContext } from './context.ts';
import type { Measure } from './measure.ts';
import type { Requirement } from './requirement.ts';

/** The body of a test: fixtures are built when they are first named. */
export type TestBody = (context: TestContext) => void;

/** A test as registered by its file. */
export interface Case {
  meta: TestMeta;
  requirements: Requirement[];
  /** Kernel messages that the test provokes. */
  provokes: RegExp[];
  /** Role of the device that `context.device` opens. */
  role: string;
  /** All roles whose devices the test needs, that one among them. */
  roles: readonly string[];
  body: TestBody;
}

/** The body of a benchmark: builds what it needs, then calls {@link Measure} once. */
export type BenchBody = (context: TestContext, measure: Measure) => void;

/** A benchmark as registered by its file. */
export interface BenchCase extends Omit<Case, 'meta' | 'body'> {
  meta: BenchMeta;
  body: BenchBody;
}

const cases = new Map<string, Case>();
const benches = new Map<string, BenchCase>();

/** The file whose tests are being registered; set by whoever loads it. */
let currentFile = '';

export function beginFile(file: string): void {
  currentFile = file;
}

export function currentSuiteFile(): string {
  return currentFile;
}

/** @throws Error if the id is taken: results are compared by id for years. */
export function register(newCase: Case): void {
  const { id } = newCase.meta;
  if (cases.has(id)) throw new Error(`two tests have the id '${id}'`);
  cases.set(id, newCase);
}

/** All tests registered so far, in the order of their files. */
export function registeredCases(): ReadonlyMap<string, Case> {
  return cases;
}

/** @throws Error if the id is taken */
export function registerBench(newCase: BenchCase): void {
  const { id } = newCase.meta;
  if (benches.has(id)) throw new Error(`two benchmarks have the id '${id}'`);
  benches.set(id, newCase);
}

/** All benchmarks registered so far, in the order of their files. */
export function registeredBenches(): ReadonlyMap<string, BenchCase> {
  return benches;
}
