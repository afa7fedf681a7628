import { createHash } from 'node:crypto';
import type { TestMeta } from '../protocol/test.ts';
import { UsageError } from '../target/errors.ts';

/** One of several runs that share the tests. */
export interface Shard {
  /** From 1 on. */
  index: number;
  count: number;
}

/** `2/3` → the second of three. @throws UsageError */
export function parseShard(text: string): Shard {
  const [, index, count] = (/^(\d+)\/(\d+)$/.exec(text) ?? []).map(Number);
  if (!index || !count || index > count) {
    throw new UsageError(
      `--shard ${text} is not of the form i/n with i from 1 to n`,
      'for example: --shard 1/3, --shard 2/3 and --shard 3/3 on three machines',
    );
  }
  return { index, count };
}

/**
 * The ids of a shard. Who is called with the same tests and durations gets the same shards: tests
 * of known duration are dealt out so that all shards take equally long, the others by their id
 * alone, so that a new test moves none of them.
 * @param durations milliseconds by id
 */
export function shardOf(
  tests: readonly Pick<TestMeta, 'id'>[],
  { index, count }: Shard,
  durations: ReadonlyMap<string, number> = new Map(),
): string[] {
  const load = Array.from({ length: count }, () => 0);
  const shards = new Map<string, number>();
  const longestFirst = tests
    .flatMap(({ id }) => [{ id, ms: durations.get(id) }])
    .sort((a, b) => (b.ms ?? 0) - (a.ms ?? 0) || (a.id < b.id ? -1 : 1));
  for (const { id, ms } of longestFirst) {
    const place = ms === undefined ? byName(id, count) : load.indexOf(Math.min(...load));
    shards.set(id, place);
    load[place] = (load[place] ?? 0) + (ms ?? 0);
  }
  return tests.map(({ id }) => id).filter((id) => shards.get(id) === index - 1);
}

function byName(id: string, count: number): number {
  return createHash('sha256').update(id).digest().readUInt32BE() % count;
}
