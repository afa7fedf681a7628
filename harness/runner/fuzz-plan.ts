import { UsageError } from '../target/errors.ts';
import type { FuzzSlice } from '../protocol/fuzz.ts';
import type { Shard } from './shard.ts';

/** What a campaign is to do. */
export interface Plan {
  /** Fuzzers, at least one. */
  ids: readonly string[];
  /** Milliseconds of each machine. */
  time?: number;
  /** Programs of each fuzzer, all machines and shards together. */
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
 * Programs of a seed that belong to a slice whose end is a time: more than it can run. The slices of all
 * turns, machines and shards lie behind each other, so that no two run the same program.
 */
const PROGRAMS = 2 ** 16;

/**
 * The slices of a campaign in the order of their turns. Machines take every `jobs`-th: so that each
 * of them sees all fuzzers, a turn is planned once for each machine. Their numbers are those of no other
 * shard's.
 */
export function planSlices(plan: Plan): FuzzSlice[] {
  const { seed, shard } = plan;
  const slices = plan.runs === undefined ? timedSlices(plan) : countedSlices(plan, plan.runs);
  return slices.map((slice, index) => ({
    number: index * shard.count + shard.index - 1,
    seed,
    program: null,
    ...slice,
  }));
}

/** What slices differ in. */
type Piece = Pick<FuzzSlice, 'id' | 'from' | 'to' | 'milliseconds'>;

function countedSlices({ ids, jobs, shard }: Plan, runs: number): Piece[] {
  const share = Math.ceil(runs / (jobs * shard.count));
  return ids.flatMap((id) =>
    Array.from({ length: jobs }, (_, job) => {
      const from = share * ((shard.index - 1) * jobs + job);
      return { id, from, to: Math.min(runs, from + share), milliseconds: null };
    }).filter(({ from }) => from < runs),
  );
}

function timedSlices({ ids, time = 0, jobs, shard }: Plan): Piece[] {
  const milliseconds = Math.min(SLICE_MS, time / ids.length);
  const turns = Math.max(1, Math.round(time / (milliseconds * ids.length)));
  return Array.from({ length: turns }, (_, turn) =>
    ids.flatMap((id) =>
      Array.from({ length: jobs }, (_, job) => {
        const place = (turn * shard.count + shard.index - 1) * jobs + job;
        return { id, from: PROGRAMS * place, to: null, milliseconds };
      }),
    ),
  ).flat();
}

/** The slice that runs one program again: `SEED:INDEX`, or the program itself. */
export function replaySlice(id: string, text: string): FuzzSlice {
  const [, seed, index] = /^(\d+):(\d+)$/.exec(text.trim()) ?? [];
  const common = { number: 0, id, milliseconds: null };
  if (seed === undefined) return { ...common, seed: 0, from: 0, to: 1, program: text };
  const from = Number(index);
  return { ...common, seed: Number(seed), from, to: from + 1, program: null };
}
