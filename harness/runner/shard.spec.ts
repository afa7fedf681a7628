import { describe, expect, it } from 'vitest';
import { parseShard, shardOf } from './shard.ts';

const TESTS = Array.from({ length: 600 }, (_, i) => ({ id: `suite.test-${i}` }));
const COUNT = 3;

function shards(tests: typeof TESTS, durations?: ReadonlyMap<string, number>): string[][] {
  return [1, 2, 3].map((index) => shardOf(tests, { index, count: COUNT }, durations));
}

describe('shards', () => {
  it.each([undefined, new Map(TESTS.slice(100).map(({ id }, i) => [id, i]))])(
    'hold each test once, in the order of the plan',
    (durations) => {
      const all = shards(TESTS, durations);
      expect(all.flat().sort()).toEqual(TESTS.map(({ id }) => id).sort());
      for (const ids of all) {
        expect(ids).toEqual(TESTS.map(({ id }) => id).filter((id) => ids.includes(id)));
        expect(ids.length).toBeGreaterThan(TESTS.length / COUNT / 2);
      }
      expect(shards([...TESTS].reverse(), durations).map((ids) => ids.sort())).toEqual(
        all.map((ids) => ids.sort()),
      );
    },
  );

  it('take equally long where durations are known', () => {
    const durations = new Map(TESTS.map(({ id }, i) => [id, i === 7 ? 50_000 : (i * 37) % 500]));
    const long = shards(TESTS, durations).map((ids) =>
      ids.reduce((sum, id) => sum + durations.get(id)!, 0),
    );
    expect(Math.max(...long) - Math.min(...long)).toBeLessThan(500);
  });

  it('keep their tests when another one is added', () => {
    const before = shards(TESTS.slice(1));
    const after = shards(TESTS).map((ids) => ids.filter((id) => id !== TESTS[0]!.id));
    expect(after).toEqual(before);
  });
});

it('reads i/n', () => {
  expect(parseShard('2/3')).toEqual({ index: 2, count: 3 });
  for (const text of ['0/3', '4/3', '1', '1/0', 'a/b', '1/3x', '-1/3'])
    expect(() => parseShard(text), text).toThrow(/i\/n/);
});
