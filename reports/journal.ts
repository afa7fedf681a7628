import {
  appendFileSync,
  closeSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import type { BenchMeta } from '../harness/protocol/bench.ts';
import type { Environment, WorkerEvent } from '../harness/protocol/events.ts';
import type { Failure, TestMeta } from '../harness/protocol/test.ts';
import type { FuzzSlice } from '../harness/protocol/fuzz.ts';
import type { SessionEnd } from '../harness/target/target.ts';
import type { BenchMethod, Interleaved } from './bench-results.ts';
import type { Expectation, Outcome } from './results.ts';

/** What the supervisor itself has to say; with the worker's events it makes up the journal. */
export type SupervisorEvent =
  | {
      type: 'run-begin';
      schema: 1;
      version: string;
      command: string[];
      /** Command and options, to which ids are appended to run them again. */
      rerun: string;
      kernel: string;
      machine: string;
      target: Environment;
      timeoutScale: number;
      seed: string | null;
      /** In the order of the plan, the expected skips included; of a shard those of all shards. */
      tests: TestMeta[];
      /** Of the tests only these, which are one shard's, belong to this run. */
      shard?: { index: number; count: number; ids: string[] };
      /** The plan, if this is a fuzzing campaign. */
      fuzz?: FuzzSlice[];
      expectationFiles: string[];
      expectations: Record<string, Expectation>;
    }
  | {
      type: 'bench-begin';
      schema: 1;
      version: string;
      command: string[];
      kernel: string;
      machine: string;
      target: Environment;
      method: BenchMethod;
      interleaved: Interleaved | null;
      /** In the order of the plan. */
      benchmarks: BenchMeta[];
    }
  /** How busy the machine is on which the target runs: the load average of a minute, and its processors. */
  | { type: 'host-load'; load: number; cpus: number }
  /** A run that ended early goes on; `target` as it is now. */
  | { type: 'run-resume'; command: string[]; target: Environment }
  | { type: 'session-start'; session: number; tests: number }
  | { type: 'progress'; text: string }
  /** A time limit passed. What the worker says after this, until the session ends, no longer counts. */
  | { type: 'hang'; id: string | null; limitMs: number }
  | {
      type: 'session-end';
      session: number;
      kind: SessionEnd['kind'];
      detail: string;
      tail: string[];
      during: string | null;
    }
  /** The supervisor's verdict on a test whose worker could not give one. */
  | {
      type: 'verdict';
      id: string;
      status: 'crash' | 'timeout' | 'error';
      durationMs: number;
      failure: Failure;
      kernelLog: string[];
    }
  | { type: 'run-end'; outcome: Outcome; reason: string };

export type JournalEvent = SupervisorEvent | WorkerEvent;
/**
 * `at`: ISO time by the supervisor's clock. `lane`: which of the sessions that run side by side it
 * comes from; lane 0 is not written.
 */
export type JournalLine = { at: string; lane?: number } & JournalEvent;

export type RunBegin = Extract<SupervisorEvent, { type: 'run-begin' }>;

/** The tests that a run is to give a result, in order. */
export function plannedTests({ tests, shard }: RunBegin): TestMeta[] {
  if (!shard) return tests;
  const mine = new Set(shard.ids);
  return tests.filter(({ id }) => mine.has(id));
}

export const JOURNAL_FILE = 'journal.ndjson';

/**
 * The append-only record of a run. A line is in the kernel's hands when {@link append} returns, so
 * that a crash of the supervisor loses nothing; what must survive the machine (which test has begun,
 * which has a result) is also flushed to the disk.
 */
export class Journal {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'a');
  }

  append(event: JournalEvent, at: Date = new Date(), lane = 0): JournalLine {
    const line: JournalLine = { at: at.toISOString(), ...(lane > 0 && { lane }), ...event };
    const bytes = Buffer.from(JSON.stringify(line) + '\n');
    const { size } = fstatSync(this.#fd);
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      // A full disk takes the beginning of a line: what stays must be whole lines.
      ftruncateSync(this.#fd, size);
      throw error;
    }
    if (DURABLE.has(event.type)) fsyncSync(this.#fd);
    return line;
  }

  /** Whether there is no line yet, of this process or of one before. */
  get isEmpty(): boolean {
    return fstatSync(this.#fd).size === 0;
  }

  close(): void {
    fsyncSync(this.#fd);
    closeSync(this.#fd);
  }
}

const DURABLE = new Set<JournalEvent['type']>([
  'run-begin',
  'bench-begin',
  'run-resume',
  'session-start',
  'session-end',
  'test-begin',
  'test-end',
  'verdict',
  'run-end',
]);

/** Completes the last line or, if it is torn, takes it away: the next one begins on a line of its own. */
export function mendJournal(path: string): void {
  const text = readFileSync(path);
  const whole = text.lastIndexOf('\n') + 1;
  if (whole === text.length) return;
  try {
    JSON.parse(text.toString('utf8', whole));
    appendFileSync(path, '\n');
  } catch {
    truncateSync(path, whole);
  }
}

/**
 * Reads a journal. The last line may be torn (the machine went down while it was written): it is
 * left out. A broken line anywhere else is damage, and said so.
 */
export function readJournal(path: string): JournalLine[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  const last = lines.pop();
  const parsed: JournalLine[] = [];
  for (const [index, line] of lines.entries()) {
    try {
      parsed.push(JSON.parse(line) as JournalLine);
    } catch (cause) {
      throw new Error(`${path}:${index + 1} is not a line of a journal`, { cause });
    }
  }
  if (last !== undefined && last !== '') {
    try {
      parsed.push(JSON.parse(last) as JournalLine);
    } catch {
      // Torn: without its newline it was never complete.
    }
  }
  return parsed;
}

/** Whether a journal is one of a run of tests: benchmarks and audits leave journals too. */
export function holdsRun(lines: readonly JournalLine[]): boolean {
  return lines.some(({ type }) => type === 'run-begin');
}
