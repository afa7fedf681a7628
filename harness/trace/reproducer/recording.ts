/** The recorded calls with their texts, numbered through. */
import type { Ioctl } from '../../abi/ioctl.ts';
import type { RecordedRun } from '../../shim/index.ts';
import { callsOf, reached, timeline, type Call } from '../call.ts';
import { callText, describeCall } from '../text/call.ts';
import { Tracker } from '../tracker.ts';

interface Text {
  line: string;
  text: string;
  ioctl: Ioctl | undefined;
}

export class Recording {
  readonly runs: readonly RecordedRun[];
  /** The calls of each run. */
  readonly calls: readonly (readonly Call[])[];
  /** How many calls there are in all. */
  readonly total: number;
  /** The call whose answer decides whether it still happens. */
  readonly decisive: Call | undefined;
  /** Number of the first call of each run. */
  readonly #base: number[] = [];
  readonly #texts = new Map<Call, Text>();

  /** @param failedAt CLOCK_MONOTONIC in ns: no call after that is the decisive one */
  constructor(runs: readonly RecordedRun[], failedAt?: bigint) {
    this.runs = runs;
    this.calls = runs.map((run, position) => callsOf(run, position));
    let total = 0;
    for (const calls of this.calls) {
      this.#base.push(total);
      total += calls.length;
    }
    this.total = total;

    const tracker = new Tracker();
    let decisive: Call | undefined;
    for (const { run, index } of timeline(runs)) {
      const call = this.calls[run]?.[index];
      if (!call) continue;
      const text = callText(call, tracker);
      this.#texts.set(call, {
        line: describeCall(call, tracker, text),
        text,
        ioctl: call.op.name === 'ioctl' ? tracker.ioctlOf(call) : undefined,
      });
      tracker.apply(call);
      const tidying = failedAt !== undefined && call.op.start > failedAt;
      if (!tidying && reached(call) && !exits(call)) decisive = call;
    }
    this.decisive = decisive;
  }

  /** Number of a call; of the one at `index` of the same run, if that is given. */
  n(call: Call, index = call.index): number {
    return this.at(call.run, index);
  }

  at(run: number, index: number): number {
    return (this.#base[run] ?? 0) + index;
  }

  /** The call decoded, with its recorded answer. */
  line(call: Call): string {
    return this.#texts.get(call)?.line ?? call.op.name;
  }

  /** The call decoded, without its answer. */
  text(call: Call): string {
    return this.#texts.get(call)?.text ?? call.op.name;
  }

  ioctl(call: Call): Ioctl | undefined {
    return this.#texts.get(call)?.ioctl;
  }
}

/** A call that does not return. */
export function exits({ op }: Call): boolean {
  return op.name === 'exit' || op.name === 'exit_group';
}

/** When the first call of a run began and the last one ended; nothing if none was reached. */
export function spanOf(calls: readonly Call[]): { start?: bigint; end?: bigint } {
  const starts = calls.map(({ op }) => op.start).filter((time) => time > 0n);
  const ends = calls.map(({ op }) => op.end).filter((time) => time > 0n);
  if (starts.length === 0) return {};
  const start = starts.reduce((a, b) => (a < b ? a : b));
  return { start, end: ends.reduce((a, b) => (a > b ? a : b), start) };
}
