import { describe, expect, it } from 'vitest';
import type { FuzzSlice } from '../protocol/fuzz.ts';
import { parseTime, planSlices, replaySlice } from './fuzz-plan.ts';

const ONE = { index: 1, count: 1 };

/** What a slice may run: where one with no end ends is where the next begins. */
const programsOf = ({ id, seed, from }: FuzzSlice) => `${id} ${seed}:${from}`;

describe('the plan of a campaign', () => {
  it('gives each fuzzer its turn until the time is used up', () => {
    const slices = planSlices({ ids: ['a', 'b'], time: 120_000, seed: 7, jobs: 1, shard: ONE });
    expect(slices.map(({ id }) => id)).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
    expect(slices.reduce((sum, { milliseconds }) => sum + (milliseconds ?? 0), 0)).toBe(120_000);
    expect(new Set(slices.map(({ seed }) => seed))).toEqual(new Set([7]));
    expect(new Set(slices.map(programsOf)).size).toBe(6);
  });

  it('shares a number of programs among machines', () => {
    const slices = planSlices({ ids: ['a'], runs: 10, seed: 1, jobs: 3, shard: ONE });
    expect(slices.map(({ from, to }) => [from, to])).toEqual([
      [0, 4],
      [4, 8],
      [8, 10],
    ]);
  });

  it('shares a number of programs among shards', () => {
    const ranges = [1, 2, 3].flatMap((index) =>
      planSlices({ ids: ['a'], runs: 10, seed: 1, jobs: 2, shard: { index, count: 3 } }).map(
        ({ from, to }) => [from, to],
      ),
    );
    expect(ranges).toEqual([
      [0, 2],
      [2, 4],
      [4, 6],
      [6, 8],
      [8, 10],
    ]);
  });

  it('gives no two shards, machines or turns, of this seed or the next, the same programs', () => {
    const slices = [4, 5].flatMap((seed) =>
      [1, 2, 3].flatMap((index) =>
        planSlices({ ids: ['a'], time: 80_000, seed, jobs: 2, shard: { index, count: 3 } }),
      ),
    );
    expect(slices).toHaveLength(2 * 3 * 4 * 2);
    expect(new Set(slices.map(programsOf)).size).toBe(slices.length);
    expect(new Set(slices.map(({ seed, number }) => `${seed} ${number}`)).size).toBe(slices.length);
    const froms = [...new Set(slices.map(({ from }) => from))].sort((a, b) => a - b);
    const gaps = froms.slice(1).map((from, index) => from - froms[index]!);
    expect(Math.min(...gaps)).toBeGreaterThan(65_000);
  });
});

it('reads times', () => {
  expect(['90s', '30m', '2h', '5'].map(parseTime)).toEqual([90_000, 1_800_000, 7_200_000, 5000]);
  expect(() => parseTime('soon')).toThrow('is no time');
});

it('replays a program of a seed, or one that is written down', () => {
  expect(replaySlice('a', '17:3')).toMatchObject({ seed: 17, from: 3, to: 4, program: null });
  expect(replaySlice('a', 'map at=1; unmap')).toMatchObject({ program: 'map at=1; unmap' });
});
