import type { Environment } from '../harness/protocol/events.ts';
import type { Failure, Status, TestMeta } from '../harness/protocol/test.ts';
import { exitCode } from './exit-code.ts';
import { failureTitle } from './failure-title.ts';
import { plannedTests, type JournalLine, type RunBegin } from './journal.ts';
import {
  emptySummary,
  RESULTS_SCHEMA,
  type Expectation,
  type Outcome,
  type RunResults,
  type SessionRecord,
  type TestResult,
} from './results.ts';

type RawStatus = Exclude<Status, 'xfail' | 'xpass'>;

interface Lane {
  /** Index of its session. */
  session: number;
  /** After a hang the rest of the session does not count. */
  deaf: boolean;
}

/** What a test that ended leaves beside its status. */
type Found = Pick<TestResult, 'skip' | 'failure' | 'kernelLog'>;

/** Journal → results, line by line, so that the live display and the files say the same. */
export class Reducer {
  #begin: (RunBegin & { at: string }) | undefined;
  #end: { at: string; outcome: Outcome; reason: string } | undefined;
  #lastAt: string | undefined;
  #environment: Environment = {};
  readonly #meta = new Map<string, TestMeta>();
  readonly #sessions: SessionRecord[] = [];
  /** The session that each lane is in. */
  readonly #lanes = new Map<number, Lane>();
  readonly #begun = new Map<string, { at: string; session: number }>();
  readonly #results = new Map<string, TestResult>();
  /** Findings of fuzzers by what is wrong, so that each is told once. */
  readonly #findings = new Map<string, TestResult>();

  /** Takes the next line; returns the test that got its result by it, if any. */
  apply(line: JournalLine): TestResult | undefined {
    this.#lastAt = line.at;
    const lane = this.#lanes.get(line.lane ?? 0);
    switch (line.type) {
      case 'run-begin':
        this.#begin = line;
        for (const test of plannedTests(line)) {
          this.#meta.set(test.id, test);
          const expectation = line.expectations[test.id];
          if (expectation?.kind === 'skip') this.#skipByExpectation(test, expectation);
        }
        return undefined;
      case 'run-resume':
        this.#end = undefined;
        this.#environment = { ...this.#environment, ...line.target };
        for (const session of this.#sessions) session.finished ??= line.at;
        return undefined;
      case 'session-start':
        this.#sessions.push({
          started: line.at,
          finished: null,
          bootMs: null,
          end: null,
          detail: '',
          during: null,
        });
        this.#lanes.set(line.lane ?? 0, { session: this.#sessions.length - 1, deaf: false });
        return undefined;
      case 'hello': {
        const session = lane && this.#sessions[lane.session];
        if (session) session.bootMs = Date.parse(line.at) - Date.parse(session.started);
        this.#environment = { ...this.#environment, ...line.environment };
        return undefined;
      }
      case 'hang':
        if (lane) lane.deaf = true;
        return undefined;
      case 'session-end': {
        const session = lane && this.#sessions[lane.session];
        if (session) {
          session.finished = line.at;
          session.end = line.kind;
          session.detail = line.detail;
          session.during = line.during;
        }
        return undefined;
      }
      case 'test-begin':
        if (!lane?.deaf) this.#begun.set(line.id, { at: line.at, session: lane?.session ?? 0 });
        return undefined;
      case 'test-end':
        if (lane?.deaf) return undefined;
        return this.#record(line.id, line.status, line.durationMs, {
          skip: line.skip,
          failure: line.failure ?? null,
          kernelLog: line.kernelLog,
        });
      case 'verdict':
        return this.#record(line.id, line.status, line.durationMs, {
          skip: [],
          failure: line.failure,
          kernelLog: line.kernelLog,
        });
      case 'fuzz-finding':
        return this.#recordFinding(line);
      case 'fuzz-end': {
        const isNew = !this.#results.has(line.id);
        if (!isNew) return undefined;
        const nothing = { skip: line.skip, failure: null, kernelLog: [] };
        return this.#record(line.id, line.skip.length > 0 ? 'skip' : 'pass', 0, nothing);
      }
      case 'run-end':
        this.#end = { at: line.at, outcome: line.outcome, reason: line.reason };
        return undefined;
      default:
        return undefined;
    }
  }

  /** The tests that had begun when the journal broke off, with the milliseconds up to its last line. */
  underWay(): { id: string; durationMs: number }[] {
    const last = Date.parse(this.#lastAt ?? '');
    return [...this.#begun]
      .filter(([id, { session }]) => !this.#results.has(id) && !this.#sessions[session]?.finished)
      .map(([id, { at }]) => ({ id, durationMs: last - Date.parse(at) }));
  }

  results(): RunResults {
    const begin = this.#begin;
    if (!begin) throw new Error('the journal holds no run: its first line is missing');
    const finished = this.#end?.at ?? null;
    const tests: TestResult[] = [];
    const notRun: string[] = [];
    const summary = emptySummary();
    for (const { id } of plannedTests(begin)) {
      const result = this.#results.get(id);
      if (result) tests.push(result);
      else notRun.push(id);
    }
    for (const finding of this.#findings.values()) {
      if (!tests.includes(finding)) tests.push(finding);
    }
    for (const { status } of tests) summary[status] += 1;
    const environment = { ...begin.target, ...this.#environment };
    const results: RunResults = {
      schema: RESULTS_SCHEMA,
      run: {
        started: begin.at,
        finished,
        durationMs: Date.parse(finished ?? this.#lastAt ?? begin.at) - Date.parse(begin.at),
        outcome: this.#end?.outcome ?? 'unfinished',
        reason: this.#end
          ? this.#end.reason
          : 'the supervisor ended without writing an end: it was killed, or the machine went down',
        exitCode: 0,
        kernel: String(this.#environment['kernel'] ?? begin.kernel),
        machine: begin.machine,
        command: begin.command,
        version: begin.version,
        environment,
        sessions: this.#sessions,
        notRun,
        expectations: begin.expectationFiles,
        timeoutScale: begin.timeoutScale,
        seed: begin.seed,
        shard: begin.shard ? `${begin.shard.index}/${begin.shard.count}` : null,
      },
      tests,
      summary,
    };
    results.run.exitCode = exitCode(results);
    return results;
  }

  /** A finding is a result of its own, unless the same was found before; the first is the fuzzer's result. */
  #recordFinding(line: Extract<JournalLine, { type: 'fuzz-finding' }>): TestResult | undefined {
    const test = this.#meta.get(line.id);
    if (!test) return undefined;
    const findings = [...this.#findings.values()].filter(({ title }) => title === test.title);
    const isFirst = !findings.some(({ id }) => id === line.id);
    const id = isFirst ? line.id : `${line.id}#${findings.length + 1}`;
    const program = line.program || `${line.seed}:${line.index}`;
    const { status, durationMs, failure, kernelLog } = line;
    const result: TestResult = {
      ...this.#resultOf(test, status, durationMs, { skip: [], failure, kernelLog }, undefined),
      id,
      rerun: `${this.#begin?.rerun ?? ''} ${line.id} --replay '${program}'`,
    };
    const title = failureTitle(result) ?? id;
    if (this.#findings.has(title)) return undefined;
    this.#findings.set(title, result);
    if (isFirst) this.#results.set(id, result);
    return result;
  }

  #skipByExpectation(test: TestMeta, expectation: Expectation): void {
    const reason = `known: ${expectation.reason} (${expectation.from})`;
    this.#store(test, 'skip', 0, { skip: [reason], failure: null, kernelLog: [] }, expectation);
  }

  #record(id: string, raw: RawStatus, durationMs: number, found: Found): TestResult | undefined {
    const test = this.#meta.get(id);
    // A worker of another build may know tests that were not planned; they are not part of this run.
    if (!test) return undefined;
    const expectation = this.#begin?.expectations[id];
    const status = judge(raw, expectation);
    if (status === 'xpass' && expectation) {
      found = { ...found, failure: unexpectedPass(expectation) };
    }
    const used = status === 'xfail' || status === 'xpass' ? expectation : undefined;
    return this.#store(test, status, durationMs, found, used);
  }

  #store(
    test: TestMeta,
    status: Status,
    durationMs: number,
    found: Found,
    expectation: Expectation | undefined,
  ): TestResult {
    const result = this.#resultOf(test, status, durationMs, found, expectation);
    this.#results.set(test.id, result);
    return result;
  }

  #resultOf(
    test: TestMeta,
    status: Status,
    durationMs: number,
    found: Found,
    expectation: Expectation | undefined,
  ): TestResult {
    const begun = this.#begun.get(test.id);
    return {
      id: test.id,
      suite: test.suite,
      title: test.title,
      file: test.file,
      status,
      durationMs,
      ...found,
      expectation: expectation ?? null,
      covers: test.covers,
      source: test.source,
      since: test.since ?? null,
      until: test.until ?? null,
      fixes: test.fixes,
      needs: test.needs,
      peer: test.peer,
      started: begun?.at ?? null,
      session: begun?.session ?? null,
      rerun: `${this.#begin?.rerun ?? 'vfio-conformance run'} ${test.id}`,
    };
  }
}

/** What an expectation makes of a result. A worse end than the expected one stays what it is. */
function judge(raw: RawStatus, expectation: Expectation | undefined): Status {
  if (!expectation || expectation.kind === 'skip') return raw;
  if (raw === expectation.outcome) return 'xfail';
  if (raw === 'pass' && expectation.kind === 'fail') return 'xpass';
  return raw;
}

function unexpectedPass(expectation: Expectation): Failure {
  return {
    kind: 'assertion',
    message: `passed, although ${expectation.from} expects it to end as ${expectation.outcome}: ${expectation.reason}`,
    expected: expectation.outcome,
    observed: 'pass',
    calls: [],
    hints: [
      `remove its line from expectations/${expectation.from} if the kernel has been repaired`,
    ],
  };
}

export function reduceJournal(lines: Iterable<JournalLine>): RunResults {
  const reducer = new Reducer();
  for (const line of lines) reducer.apply(line);
  return reducer.results();
}
