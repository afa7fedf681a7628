import { randomBytes } from 'node:crypto';
import type { TestMeta } from '../protocol/test.ts';
import { selectTests, shuffle, spoilersLast } from '../runner/select.ts';
import type { RunArguments } from './run-options.ts';
import { listTests } from './test-list.ts';

/** The tests that a command line names, in the order in which to run them, and the seed of that order. */
export async function chosenTests(
  args: Pick<RunArguments, 'ids' | 'shuffle'>,
): Promise<{ tests: TestMeta[]; seed: string | null }> {
  const tests = selectTests(await listTests(), args.ids ?? []);
  if (args.shuffle === undefined) return { tests: spoilersLast(tests), seed: null };
  const seed = args.shuffle === 'random' ? randomBytes(4).toString('hex') : args.shuffle;
  return { tests: spoilersLast(shuffle(tests, seed)), seed };
}
