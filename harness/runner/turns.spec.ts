import { expect, it } from 'vitest';
import { Turns } from './turns.ts';

/** Two sides that measure the given benchmarks in two rounds each; who was at it when. */
async function order(benches: [number[], number[]]): Promise<string[]> {
  const turns = new Turns(2);
  const log: string[] = [];
  let busy = 0;
  await Promise.all(
    benches.map(async (ids, side) => {
      for (const bench of ids) {
        for (const round of [-1, 0, 1]) {
          await turns.take(side, { bench, round });
          expect(++busy).toBe(1);
          log.push(`${side}:${bench}.${round}`);
          await new Promise(setImmediate);
          busy--;
        }
      }
      turns.leave(side);
    }),
  );
  return log;
}

it('alternates, and who begins changes from round to round', async () => {
  expect(await order([[0], [0]])).toEqual(['1:0.-1', '0:0.-1', '0:0.0', '1:0.0', '1:0.1', '0:0.1']);
});

it('waits for a side that is behind', async () => {
  const log = await order([[1], [0, 1]]);
  expect(log.slice(0, 3)).toEqual(['1:0.-1', '1:0.0', '1:0.1']);
  expect(log.slice(3)).toHaveLength(6);
});
