import type { Outcome } from '../../reports/results.ts';
import type { Failure, TestMeta } from '../protocol/test.ts';
import { deathMessage, failureOf, hangFailure, isDeath, kernelLogOf } from './session-failure.ts';
import { SessionWatch, type SessionOptions, type SessionRun } from './session-watch.ts';

export interface SuperviseOptions extends SessionOptions {
  /** In the order in which to run them. */
  tests: readonly TestMeta[];
  /** Crashes and hangs after which the run is given up. */
  maxDeaths: number;
}

export interface RunEnd {
  outcome: Exclude<Outcome, 'unfinished'>;
  reason: string;
}

/** Sessions that break in a way that says nothing about the kernel, before a test is given up. */
const MAX_RETRIES = 2;

/**
 * Runs tests in one session after the other until each has a result: a session that dies in a test
 * costs that test, the next one continues behind it.
 */
export async function supervise(options: SuperviseOptions): Promise<RunEnd> {
  const { record, signal } = options;
  const remaining = new Map(options.tests.map((test) => [test.id, test]));
  const breaks = new Map<string, number>();
  let deaths = 0;
  let fruitless = 0;

  for (let number = 0; remaining.size > 0; number++) {
    if (signal.aborted) return interrupted(signal);
    record({ type: 'session-start', session: number, tests: remaining.size });
    const before = remaining.size;
    const run = await new SessionWatch(options, remaining).run();
    const { end, current } = run;
    record({
      type: 'session-end',
      session: number,
      kind: end.kind,
      detail: end.detail,
      tail: end.tail,
      during: current?.meta.id ?? null,
    });
    if (signal.aborted) return interrupted(signal);

    const verdict = judge(run, breaks);
    if (verdict && verdict.status !== 'error') deaths += 1;
    if (verdict && current) {
      const { id, title } = current.meta;
      remaining.delete(id);
      const last = await run.lastCalls(`${id}: ${title}`);
      record({
        type: 'verdict',
        id,
        status: verdict.status,
        durationMs: current.durationMs,
        failure: { ...verdict.failure, ...last },
        kernelLog: kernelLogOf(run),
      });
    }

    if (deaths >= options.maxDeaths && remaining.size > 0) {
      return { outcome: 'aborted', reason: `${deaths} deaths of the kernel or the worker` };
    }
    if (remaining.size < before || current) {
      fruitless = 0;
    } else if (++fruitless > MAX_RETRIES) {
      const reason = `${fruitless} sessions in a row ended without running a test: ${end.detail}`;
      return { outcome: isDeath(end) ? 'aborted' : 'broken', reason };
    }
  }
  return { outcome: 'finished', reason: '' };
}

function interrupted(signal: AbortSignal): RunEnd {
  return { outcome: 'interrupted', reason: String(signal.reason) };
}

/**
 * What a session says by its end; undefined if its test, should there be one, gets another try.
 * @param breaks how often the target broke in each test
 */
function judge(
  { end, current, hang, abort }: SessionRun,
  breaks: Map<string, number>,
): { status: 'crash' | 'timeout' | 'error'; failure: Failure } | undefined {
  const logs = current?.logs ?? [];
  const error = (message: string) => ({
    status: 'error' as const,
    failure: failureOf('setup', message, end, logs),
  });
  if (hang) return { status: 'timeout', failure: hangFailure(hang, end, logs) };
  if (abort !== undefined) return error(`the worker gave up in this test: ${abort}`);
  if (isDeath(end))
    return { status: 'crash', failure: failureOf('death', deathMessage(end), end, logs) };
  if (!current) return undefined;
  const tries = (breaks.get(current.meta.id) ?? 0) + 1;
  breaks.set(current.meta.id, tries);
  if (tries <= MAX_RETRIES) return undefined;
  return error(`the target broke ${tries} times in this test: ${end.detail}`);
}
