/** One session as the supervisor sees it: what it says, how long it may be silent, how it ends. */
import type { JournalEvent } from '../../reports/journal.ts';
import type { BenchPlan } from '../protocol/bench.ts';
import { PROTOCOL_VERSION, type LastCalls, type WorkerEvent } from '../protocol/events.ts';
import type { TestMeta } from '../protocol/test.ts';
import { isActionable, SetupError } from '../target/errors.ts';
import type { Session, SessionEnd, SessionHandlers, Target } from '../target/target.ts';
import { START_SILENCE_MS } from './start-silence.ts';

export interface SessionOptions {
  target: Target;
  /** Journals an event, then shows it. */
  record(event: JournalEvent): void;
  /** Factor on every time limit, the target's own included. */
  timeoutScale: number;
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

/** The test in which a session ended. */
export interface InterruptedTest {
  meta: TestMeta;
  /** How long it had run. */
  durationMs: number;
  /** What marks its begin in the kernel log. */
  nonce: string;
  /** What the worker logged during it. */
  logs: string[];
}

type RunningTest = Omit<InterruptedTest, 'durationMs'> & { begunAt: number };

export interface Hang {
  limitMs: number;
  evidence: string[];
}

/** A session that is over. */
export interface SessionRun {
  end: SessionEnd;
  /** The test that had begun and not ended. */
  current?: InterruptedTest;
  /** That test ran into its time limit. */
  hang?: Hang;
  /** Why the worker itself gave up. */
  abort?: string;
  /** What the black box holds of the last calls. @param title of the C program made of them */
  lastCalls(title: string): Promise<LastCalls>;
}

/** Between two tests. */
const DEFAULT_SILENCE_MS = 120_000;
const DEFAULT_EVIDENCE_MS = 20_000;

/** A session from start to end. */
export class SessionWatch {
  readonly #options: SessionOptions;
  readonly #remaining: Map<string, TestMeta>;
  /** A small scale is for impatient tests, not for impatient boots. */
  readonly #patience: number;
  #session: Session | undefined;
  #current: RunningTest | undefined;
  #hang: Hang | undefined;
  #abort: string | undefined;
  /** Why it was taken for dead outside of a test. */
  #silent: string | undefined;
  #refusal: SetupError | undefined;
  /** The worker has said hello. */
  #spoken = false;
  /** Nothing that still comes changes the result. */
  #deaf = false;
  #over = false;
  #timer: NodeJS.Timeout | undefined;
  #dealingWithHang: Promise<void> | undefined;

  /** @param remaining the tests to run; those that get a result are taken out */
  constructor(options: SessionOptions, remaining: Map<string, TestMeta>) {
    this.#options = options;
    this.#patience = Math.max(1, options.timeoutScale);
    this.#remaining = remaining;
  }

  /** Starts the session and waits for its end. @throws what a person must repair */
  async run(): Promise<SessionRun> {
    const end = await this.#startToEnd();
    await this.#dealingWithHang;
    await this.#session?.kill();
    if (this.#refusal) throw this.#refusal;
    return {
      end: this.#explained(end),
      ...(this.#current && { current: interrupted(this.#current) }),
      hang: this.#hang,
      abort: this.#abort,
      lastCalls: async (title) => (await this.#session?.lastCalls(title)) ?? { calls: [] },
    };
  }

  async #startToEnd(): Promise<SessionEnd> {
    const { target, signal, bench, answer } = this.#options;
    const onAbort = () => this.#giveUp();
    signal.addEventListener('abort', onAbort);
    try {
      this.#watchSilence();
      this.#session = await target.start(
        { tests: [...this.#remaining.keys()], ...(bench && { bench }) },
        {
          onEvent: (event) => this.#onEvent(event),
          onProgress: (text) => this.#onProgress(text),
          answer,
        },
      );
      // What came while there was nothing to kill yet.
      if (signal.aborted || this.#refusal || this.#silent !== undefined) await this.#session.kill();
      return await this.#session.ended;
    } catch (error) {
      // What a person must repair would fail the same way the next time.
      if (isActionable(error)) throw error;
      const detail = error instanceof Error ? error.message : String(error);
      return { kind: 'infrastructure', detail, tail: [] };
    } finally {
      this.#over = true;
      clearTimeout(this.#timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** An end of our own making says why. */
  #explained(end: SessionEnd): SessionEnd {
    if (this.#silent !== undefined) {
      const kind = this.#spoken ? 'guest-died' : 'infrastructure';
      return { kind, detail: this.#silent, tail: end.tail };
    }
    if (this.#abort !== undefined)
      return { kind: 'clean', detail: `the worker gave up: ${this.#abort}`, tail: end.tail };
    return end;
  }

  #onEvent(event: WorkerEvent): void {
    this.#options.record(event);
    if (this.#deaf) return;
    switch (event.type) {
      case 'hello':
        this.#onHello(event.protocol);
        break;
      case 'test-begin':
        this.#onTestBegin(event.id, event.nonce);
        break;
      case 'test-end':
        this.#remaining.delete(event.id);
        this.#current = undefined;
        break;
      case 'abort':
        this.#abort = event.reason;
        break;
      case 'log':
        this.#current?.logs.push(event.text);
        break;
      default:
        break;
    }
    this.#watchSilence();
  }

  #onProgress(text: string): void {
    this.#options.record({ type: 'progress', text });
    this.#watchSilence();
  }

  #onHello(protocol: number): void {
    this.#spoken = true;
    if (protocol === PROTOCOL_VERSION) return;
    this.#refusal = new SetupError(
      `the worker speaks protocol ${protocol}, the supervisor ${PROTOCOL_VERSION}`,
      'both must come from the same sources: npm start builds them, or install the package again',
    );
    this.#giveUp();
  }

  #onTestBegin(id: string, nonce: string): void {
    const meta = this.#remaining.get(id);
    this.#current = meta && { meta, begunAt: performance.now(), nonce, logs: [] };
    if (!meta) return;
    const limitMs = meta.timeoutMs * this.#options.timeoutScale;
    this.#limit(limitMs, () => this.#onTestTimeout(id, limitMs));
  }

  /** Outside of tests nothing may be silent for long; in a test its own limit holds, whatever is said. */
  #watchSilence(): void {
    if (this.#current || this.#deaf) return;
    const usual = this.#spoken ? DEFAULT_SILENCE_MS : START_SILENCE_MS;
    const limitMs = (this.#options.silenceMs ?? usual) * this.#patience;
    this.#limit(limitMs, () => this.#onSilence(limitMs));
  }

  /** What happens once this time is over, instead of what was to happen until now. */
  #limit(ms: number, then: () => Promise<void>): void {
    clearTimeout(this.#timer);
    if (this.#over) return;
    this.#timer = setTimeout(() => {
      this.#dealingWithHang ??= then();
    }, ms);
  }

  async #onTestTimeout(id: string, limitMs: number): Promise<void> {
    this.#deaf = true;
    this.#options.record({ type: 'hang', id, limitMs });
    this.#hang = { limitMs, evidence: [] };
    this.#hang.evidence = await this.#evidence();
    await this.#session?.kill();
  }

  async #onSilence(limitMs: number): Promise<void> {
    const { record } = this.#options;
    const when = this.#spoken ? 'between two tests' : 'while it started';
    this.#deaf = true;
    this.#silent = `nothing was heard for ${Math.round(limitMs / 1000)} s ${when}`;
    record({ type: 'hang', id: null, limitMs });
    if (this.#spoken) for (const text of await this.#evidence()) record({ type: 'progress', text });
    await this.#session?.kill();
  }

  async #evidence(): Promise<string[]> {
    if (!this.#session) return [];
    let giveUp: NodeJS.Timeout | undefined;
    const none = new Promise<string[]>((resolve) => {
      giveUp = setTimeout(
        () => resolve(['(no evidence within the time limit)']),
        (this.#options.evidenceMs ?? DEFAULT_EVIDENCE_MS) * this.#patience,
      );
    });
    const evidence = this.#session
      .hangEvidence()
      .catch((error: unknown) => [`(no evidence: ${String(error)})`]);
    const found = await Promise.race([evidence, none]);
    clearTimeout(giveUp);
    return found;
  }

  #giveUp(): void {
    this.#deaf = true;
    void this.#session?.kill();
  }
}

function interrupted({ begunAt, ...test }: RunningTest): InterruptedTest {
  return { ...test, durationMs: Math.round(performance.now() - begunAt) };
}
