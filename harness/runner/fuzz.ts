import type { JournalEvent } from '../../reports/journal.ts';
import type { WorkerEvent } from '../protocol/events.ts';
import type { Failure, TestMeta } from '../protocol/test.ts';
import type { FuzzEvent, FuzzSlice } from '../protocol/fuzz.ts';
import type { Session, SessionEnd, Target } from '../target/target.ts';
import { deathMessage, failureOf, isDeath } from './session-failure.ts';
import type { RunEnd } from './supervise.ts';
import { START_SILENCE_MS } from './start-silence.ts';

export interface CampaignOptions {
  /** They run side by side and share the slices. */
  targets: readonly Target[];
  tests: readonly TestMeta[];
  slices: readonly FuzzSlice[];
  timeoutScale: number;
  /** Crashes and hangs after which the campaign is given up. */
  maxDeaths: number;
  /** Journals an event, then shows it. */
  record(event: JournalEvent, lane: number): void;
  /** Shows what is not worth a line of the journal. */
  progress(event: FuzzEvent): void;
  signal: AbortSignal;
}

/** Sessions in a row that may end without having run a program. */
const MAX_FRUITLESS = 3;

/** Runs all slices; a program that kills its guest costs that program, and the next session goes on behind it. */
export async function campaign(options: CampaignOptions): Promise<RunEnd> {
  const { targets, slices } = options;
  const ends = await Promise.all(
    targets.map((target, lane) =>
      new Lane(options, target, lane).run(
        slices.filter((_, index) => index % targets.length === lane),
      ),
    ),
  );
  const finished: RunEnd = { outcome: 'finished', reason: '' };
  return ends.find(({ outcome }) => outcome !== 'finished') ?? finished;
}

/** The program that a session is in. */
interface Position {
  slice: FuzzSlice;
  index: number;
  /** The program, if the seed does not tell it. */
  program: string | null;
  /** When the slice began, by performance.now(). */
  since: number;
}

/** One guest after the other, on one target. */
class Lane {
  readonly #options: CampaignOptions;
  readonly #target: Target;
  readonly #lane: number;
  readonly #limits: Map<string, number>;
  #remaining: FuzzSlice[] = [];
  #position: Position | undefined;
  #hung = false;
  /** The calls of the program in which the last session died. */
  #lastCalls: string[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CampaignOptions, target: Target, lane: number) {
    this.#options = options;
    this.#target = target;
    this.#lane = lane;
    const scale = options.timeoutScale;
    this.#limits = new Map(options.tests.map(({ id, timeoutMs }) => [id, timeoutMs * scale]));
  }

  async run(slices: readonly FuzzSlice[]): Promise<RunEnd> {
    const { signal, maxDeaths } = this.#options;
    this.#remaining = [...slices];
    let deaths = 0;
    let fruitless = 0;
    for (let number = 0; this.#remaining.length > 0; number++) {
      if (signal.aborted) return { outcome: 'interrupted', reason: String(signal.reason) };
      const before = this.#remaining.length;
      this.#record({ type: 'session-start', session: number, tests: before });
      const end = await this.#session();
      const position = this.#position;
      const { kind, detail, tail } = end;
      const during = position?.slice.id ?? null;
      this.#record({ type: 'session-end', session: number, kind, detail, tail, during });
      if (signal.aborted) return { outcome: 'interrupted', reason: String(signal.reason) };
      if (position) {
        if (this.#hung || isDeath(end)) {
          this.#recordDeath(position, end);
          if (++deaths >= maxDeaths) return { outcome: 'aborted', reason: `${deaths} deaths` };
        }
        this.#goOnBehind(position);
      }
      fruitless = position || this.#remaining.length < before ? 0 : fruitless + 1;
      if (fruitless === MAX_FRUITLESS) return { outcome: 'broken', reason: end.detail };
    }
    return { outcome: 'finished', reason: '' };
  }

  #record(event: JournalEvent): void {
    this.#options.record(event, this.#lane);
  }

  #recordDeath({ slice, index, program }: Position, end: SessionEnd): void {
    const { id, seed } = slice;
    const message = this.#hung ? 'hung: the program did not end' : deathMessage(end);
    const failure: Failure = {
      ...failureOf('death', message, end, []),
      calls: this.#lastCalls,
    };
    this.#record({
      type: 'fuzz-finding',
      id,
      seed,
      index,
      program: slice.program ?? program ?? '',
      status: this.#hung ? 'timeout' : 'crash',
      durationMs: 0,
      failure,
      kernelLog: end.tail,
    });
  }

  /** What is left of a slice whose session ended within it. */
  #goOnBehind({ slice, index, since }: Position): void {
    this.#remaining.shift();
    const spent = performance.now() - since;
    const milliseconds =
      slice.milliseconds === null ? null : Math.max(0, slice.milliseconds - spent);
    const isDone = slice.program !== null || milliseconds === 0 || index + 1 === slice.to;
    if (!isDone) this.#remaining.unshift({ ...slice, from: index + 1, milliseconds });
  }

  async #session(): Promise<SessionEnd> {
    const { signal, timeoutScale } = this.#options;
    this.#position = undefined;
    this.#hung = false;
    let session: Session | undefined;
    const onAbort = (): void => void session?.kill();
    const arm = (ms: number): void => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        this.#hung = this.#position !== undefined;
        void session?.kill();
      }, ms);
    };
    const onEvent = (event: WorkerEvent): void => {
      this.#take(event);
      const limit = this.#position && this.#limits.get(this.#position.slice.id);
      arm(limit ?? START_SILENCE_MS * timeoutScale);
    };
    signal.addEventListener('abort', onAbort);
    try {
      arm(START_SILENCE_MS * timeoutScale);
      session = await this.#target.start(
        { tests: [], fuzz: this.#remaining },
        { onEvent, onProgress: (text) => this.#record({ type: 'progress', text }) },
      );
      if (signal.aborted) await session.kill();
      const end = await session.ended;
      if (this.#hung || isDeath(end)) this.#lastCalls = (await session.lastCalls('')).calls;
      return end;
    } finally {
      clearTimeout(this.#timer);
      signal.removeEventListener('abort', onAbort);
      await session?.kill();
    }
  }

  #take(event: WorkerEvent): void {
    switch (event.type) {
      case 'fuzz-begin': {
        const slice = this.#remaining.find(({ number }) => number === event.slice);
        if (slice) {
          const since = performance.now();
          this.#position = { slice, index: slice.from, program: null, since };
        }
        break;
      }
      case 'fuzz-program':
        if (this.#position) {
          const { index, program } = event;
          this.#position = { ...this.#position, index, program };
        }
        return;
      case 'fuzz-progress':
        this.#options.progress(event);
        return;
      case 'fuzz-end':
        this.#position = undefined;
        this.#remaining = this.#remaining.filter(({ number }) => number !== event.slice);
        break;
      default:
        break;
    }
    this.#record(event);
  }
}
