import type { JournalEvent } from '../../reports/journal.ts';
import type { Outcome } from '../../reports/results.ts';
import type { BenchPlan } from '../protocol/bench.ts';
import { isActionable, SetupError } from '../target/errors.ts';
import { PROTOCOL_VERSION, type LastCalls, type WorkerEvent } from '../protocol/events.ts';
import type { Failure, TestMeta } from '../protocol/test.ts';
import type { Session, SessionEnd, SessionHandlers, Target } from '../target/target.ts';

export interface SuperviseOptions {
  target: Target;
  /** In the order in which to run them. */
  tests: readonly TestMeta[];
  /** Journals an event, then shows it. */
  record(event: JournalEvent): void;
  /** Factor on every time limit, the target's own included. */
  timeoutScale: number;
  /** Crashes and hangs after which the run is given up. */
  maxDeaths: number;
  /** Ends the run: the session is killed, what has a result keeps it. */
  signal: AbortSignal;
  /** The tests are benchmarks, to be measured like this. */
  bench?: BenchPlan;
  /** Answers requests of the worker's that are none for the target. */
  answer?: SessionHandlers['answer'];
  /** Silence, outside of tests, after which a session is taken for dead, before scaling up. Milliseconds. */
  silenceMs?: number;
  /** How long evidence of a hang may take to collect, before scaling up. Milliseconds. */
  evidenceMs?: number;
}

export interface RunEnd {
  outcome: Exclude<Outcome, 'unfinished'>;
  reason: string;
}

/** Sessions that break in a way that says nothing about the kernel, before a test is given up. */
const MAX_RETRIES = 2;
const DEFAULT_SILENCE_MS = 120_000;
const DEFAULT_EVIDENCE_MS = 20_000;

/**
 * Runs tests in one session after the other until each has a result: a session that dies in a test
 * costs that test, the next one continues behind it.
 */
export async function supervise(options: SuperviseOptions): Promise<RunEnd> {
  const { record, signal } = options;
  const remaining = new Map(options.tests.map((test) => [test.id, test]));
  const retries = new Map<string, number>();
  let deaths = 0;
  let fruitless = 0;

  for (let number = 0; remaining.size > 0; number++) {
    if (signal.aborted) return interrupted(signal);
    record({ type: 'session-start', session: number, tests: remaining.size });
    const before = remaining.size;
    const run = await runSession(options, remaining);
    const { end, current } = run;
    record({
      type: 'session-end',
      session: number,
      kind: end.kind,
      detail: end.detail,
      tail: end.tail,
      during: current?.id ?? null,
    });
    if (signal.aborted) return interrupted(signal);

    const verdict = async (
      status: 'crash' | 'timeout' | 'error',
      failure: Failure,
    ): Promise<void> => {
      if (!current) return;
      remaining.delete(current.id);
      const last = await run.lastCalls(`${current.id}: ${current.title}`);
      const kernelLog = isConsole(end.tail) ? sinceBegin(end.tail, run) : [];
      record({
        type: 'verdict',
        id: current.id,
        status,
        durationMs: run.durationMs,
        failure: { ...failure, ...last },
        kernelLog,
      });
    };

    if (current && run.hang) {
      deaths += 1;
      await verdict('timeout', hangFailure(run.hang.limitMs, run.hang.evidence, end, run.logs));
    } else if (run.abort !== undefined) {
      await verdict(
        'error',
        failureOf('setup', `the worker gave up in this test: ${run.abort}`, end, run.logs),
      );
    } else if (isDeath(end)) {
      deaths += 1;
      await verdict('crash', failureOf('death', deathMessage(end), end, run.logs));
    } else if (current) {
      const tries = (retries.get(current.id) ?? 0) + 1;
      retries.set(current.id, tries);
      if (tries > MAX_RETRIES) {
        const message = `the target broke ${tries} times in this test: ${end.detail}`;
        await verdict('error', failureOf('setup', message, end, run.logs));
      }
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

interface SessionRun {
  end: SessionEnd;
  /** What the black box holds of that test's calls. */
  lastCalls(title: string): Promise<LastCalls>;
  /** The test that had begun and not ended. */
  current: TestMeta | undefined;
  /** How long that test had run. */
  durationMs: number;
  /** What marks that test's begin in the kernel log. */
  nonce: string;
  /** What the worker logged during it. */
  logs: string[];
  hang?: { limitMs: number; evidence: string[] };
  abort?: string;
}

/** One session from start to end; takes what gets a result out of `remaining`. */
async function runSession(
  options: SuperviseOptions,
  remaining: Map<string, TestMeta>,
): Promise<SessionRun> {
  const { target, record, signal } = options;
  const scale = options.timeoutScale;
  // A small scale is for impatient tests, not for impatient boots.
  const patience = Math.max(1, scale);
  const silenceMs = (options.silenceMs ?? DEFAULT_SILENCE_MS) * patience;
  let session: Session | undefined;
  let current: TestMeta | undefined;
  let begunAt = 0;
  let nonce = '';
  let logs: string[] = [];
  let spoken = false;
  let over = false;
  let deaf = false;
  let abort: string | undefined;
  let hang: { limitMs: number; evidence: string[] } | undefined;
  let silent: string | undefined;
  let refusal: SetupError | undefined;
  let dealingWithHang: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const arm = (ms: number, then: () => Promise<void>): void => {
    clearTimeout(timer);
    if (over) return;
    timer = setTimeout(() => {
      dealingWithHang ??= then();
    }, ms);
  };
  const watchSilence = (): void => arm(silenceMs, onSilence);

  const collect = async (): Promise<string[]> => {
    if (!session) return [];
    const limit = (options.evidenceMs ?? DEFAULT_EVIDENCE_MS) * patience;
    let giveUp: NodeJS.Timeout | undefined;
    const none = new Promise<string[]>((resolve) => {
      giveUp = setTimeout(() => resolve(['(no evidence within the time limit)']), limit);
    });
    const evidence = session
      .hangEvidence()
      .catch((error: unknown) => [`(no evidence: ${String(error)})`]);
    const found = await Promise.race([evidence, none]);
    clearTimeout(giveUp);
    return found;
  };
  const onTestTimeout = async (): Promise<void> => {
    if (!current) return;
    deaf = true;
    const limitMs = current.timeoutMs * scale;
    record({ type: 'hang', id: current.id, limitMs });
    hang = { limitMs, evidence: [] };
    hang.evidence = await collect();
    await session?.kill();
  };
  const onSilence = async (): Promise<void> => {
    deaf = true;
    silent = `nothing was heard for ${Math.round(silenceMs / 1000)} s ${spoken ? 'between two tests' : 'while it started'}`;
    record({ type: 'hang', id: null, limitMs: silenceMs });
    if (spoken) for (const line of await collect()) record({ type: 'progress', text: line });
    await session?.kill();
  };

  const onEvent = (event: WorkerEvent): void => {
    record(event);
    if (deaf) return;
    switch (event.type) {
      case 'hello':
        spoken = true;
        if (event.protocol !== PROTOCOL_VERSION) {
          refusal = new SetupError(
            `the worker speaks protocol ${event.protocol}, the supervisor ${PROTOCOL_VERSION}`,
            'build both from the same sources: npm run build',
          );
          deaf = true;
          void session?.kill();
          return;
        }
        break;
      case 'test-begin':
        current = remaining.get(event.id);
        begunAt = performance.now();
        nonce = event.nonce;
        logs = [];
        if (current) {
          arm(current.timeoutMs * scale, onTestTimeout);
          return;
        }
        break;
      case 'test-end':
        remaining.delete(event.id);
        current = undefined;
        break;
      case 'abort':
        abort = event.reason;
        break;
      case 'log':
        logs.push(event.text);
        break;
      default:
        break;
    }
    // In a test its own limit holds, whatever else is said.
    if (!current) watchSilence();
  };
  const onProgress = (text: string): void => {
    record({ type: 'progress', text });
    if (!current && !deaf) watchSilence();
  };

  const onAbort = (): void => {
    deaf = true;
    void session?.kill();
  };
  signal.addEventListener('abort', onAbort);
  let end: SessionEnd;
  try {
    watchSilence();
    session = await target.start(
      { tests: [...remaining.keys()], ...(options.bench && { bench: options.bench }) },
      { onEvent, onProgress, answer: options.answer },
    );
    // What came while there was nothing to kill yet.
    if (signal.aborted || refusal || silent !== undefined) await session.kill();
    end = await session.ended;
  } catch (error) {
    // What a person must repair would fail the same way the next time.
    if (isActionable(error)) throw error;
    end = { kind: 'infrastructure', detail: messageOf(error), tail: [] };
  } finally {
    over = true;
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
  await dealingWithHang;
  await session?.kill();
  if (refusal) throw refusal;

  if (silent !== undefined) {
    end = { kind: spoken ? 'guest-died' : 'infrastructure', detail: silent, tail: end.tail };
  } else if (abort !== undefined) {
    end = { kind: 'clean', detail: `the worker gave up: ${abort}`, tail: end.tail };
  }
  const durationMs = current ? performance.now() - begunAt : 0;
  const lastCalls = async (title: string): Promise<LastCalls> =>
    (await session?.lastCalls(title)) ?? { calls: [] };
  return { end, lastCalls, current, durationMs: Math.round(durationMs), nonce, logs, hang, abort };
}

/** Whether a session ended in a way that speaks against the kernel or the worker. */
export function isDeath(end: SessionEnd): boolean {
  return ['guest-panic', 'guest-died', 'worker-died'].includes(end.kind);
}

/** How a session died, for people. */
export function deathMessage(end: SessionEnd): string {
  const what = {
    'guest-panic': 'the kernel panicked',
    'guest-died': 'the guest went down',
    'worker-died': 'the worker process died',
  }[end.kind as 'guest-panic' | 'guest-died' | 'worker-died'];
  return end.detail ? `${what}: ${end.detail}` : what;
}

function hangFailure(
  limitMs: number,
  evidence: string[],
  end: SessionEnd,
  logs: string[],
): Failure {
  return {
    ...failureOf('death', `hung: no end within ${limitMs / 1000} s`, end, logs),
    stack: evidence.join('\n') || undefined,
    hints: ['on a slow machine: --timeout-scale 2'],
  };
}

/** The message, then what the worker logged, and its last words if they are not the kernel's. */
export function failureOf(
  kind: Failure['kind'],
  message: string,
  end: SessionEnd,
  logs: string[],
): Failure {
  const lines = [message];
  if (logs.length > 0) lines.push('logged:', ...logs.map((line) => `  ${line}`));
  if (end.tail.length > 0 && !isConsole(end.tail))
    lines.push('last lines:', ...end.tail.map((line) => `  ${line}`));
  return { kind, message: lines.join('\n'), calls: [], hints: [] };
}

/** Whether the last lines come from a guest's console (the kernel's time stamps) or from a worker. */
function isConsole(tail: string[]): boolean {
  return tail.some((line) => /^\s*(<\d+>)?\[\s*\d+\.\d+\]/.test(line));
}

/**
 * The console from the test's begin marker on. If the marker is no longer in the tail, all of it is
 * younger; after a hang it is then all evidence, which is kept elsewhere.
 */
function sinceBegin(tail: string[], { nonce, hang }: SessionRun): string[] {
  const marker = nonce === '' ? -1 : tail.findLastIndex((line) => line.includes(nonce));
  if (!hang) return tail.slice(marker + 1);
  if (marker < 0) return [];
  const since = tail.slice(marker + 1);
  const evidence = since.findIndex((line) => line.includes('sysrq: '));
  return evidence < 0 ? since : since.slice(0, evidence);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
