import { UsageError } from '../target/errors.ts';
import type { FuzzSlice } from '../protocol/fuzz.ts';
import type { Shard } from './shard.ts';

/** What a campaign is to do. */
export interface Plan {
  /** Fuzzers, at least one. */
  ids: readonly string[];
  /** Milliseconds of each machine. */
  time?: number;
  /** Programs of each fuzzer, all machines together. */
  runs?: number;
  seed: number;
  /** Machines that work side by side. */
  jobs: number;
  /** No two shards run the same program. */
  shard: Shard;
}

/** Long enough for the set-up not to matter, short enough that each fuzzer gets its turn soon. */
const SLICE_MS = 20_000;

/** `30m`, `2h`, `90s` or a number of seconds → milliseconds. @throws UsageError */
export function parseTime(text: string): number {
  const [, number = '', unit = 's'] = /^(\d+(?:\.\d+)?)([smh]?)$/.exec(text) ?? [];
  if (number === '') throw new UsageError(`--time ${text} is no time`, 'for example: --time 30m');
  const seconds = { s: 1, m: 60, h: 3600 }[unit] ?? 1;
  return Number(number) * seconds * 1000;
}

/**
 * The slices of a campaign in the order of their turns. Machines take every `jobs`-th: so that each
 * of them sees all fuzzers, a turn is planned once for each machine.
 */
export function planSlices({ ids, time, runs, seed, jobs, shard }: Plan): FuzzSlice[] {
  const slices: Omit<FuzzSlice, 'number'>[] = [];
  if (runs !== undefined) {
    const share = Math.ceil(runs / jobs);
    for (const id of ids) {
      for (let from = 0; from < runs; from += share) {
        const to = Math.min(runs, from + share);
        slices.push({
          id,
          seed: seed + shard.index - 1,
          from,
          to,
          milliseconds: null,
          program: null,
        });
      }
    }
  } else {
    const total = time ?? 0;
    const milliseconds = Math.min(SLICE_MS, total / ids.length);
    const turns = Math.max(1, Math.round(total / (milliseconds * ids.length)));
    for (let turn = 0; turn < turns; turn++) {
      for (const id of ids) {
        for (let job = 0; job < jobs; job++) {
          // Seeds of a campaign: one for each turn of each machine of each shard.
          const own = seed + ((turn * shard.count + shard.index - 1) * jobs + job);
          slices.push({ id, seed: own, from: 0, to: null, milliseconds, program: null });
        }
      }
    }
  }
  return slices.map((slice, number) => ({ number, ...slice }));
}

/** The slice that runs one program again: `SEED:INDEX`, or the program itself. */
export function replaySlice(id: string, text: string): FuzzSlice {
  const [, seed, index] = /^(\d+):(\d+)$/.exec(text.trim()) ?? [];
  const common = { number: 0, id, milliseconds: null };
  if (seed === undefined) return { ...common, seed: 0, from: 0, to: 1, program: text };
  const from = Number(index);
  return { ...common, seed: Number(seed), from, to: from + 1, program: null };
}
