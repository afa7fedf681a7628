import { randomBytes } from 'node:crypto';
import type { BenchPlan } from '../protocol/bench.ts';
import { runCase } from '../testing/execute.ts';
import { measureFor } from '../testing/measure.ts';
import { pinMainThread } from '../testing/processors.ts';
import type { Channel } from './channel.ts';
import { collectBenches } from './collect.ts';

/** Measures every benchmark in its order, until done or until something cannot be put back. */
export async function measureBenches(
  channel: Channel,
  ids: readonly string[],
  plan: BenchPlan,
): Promise<void> {
  const benches = await collectBenches();
  pinMainThread();
  for (const id of ids) {
    const bench = benches.get(id);
    if (!bench) throw new Error(`there is no benchmark '${id}'`);
    const onTurn = (round: number) => {
      if (plan.turns) channel.ask('turn', { id, round });
    };
    const nonce = randomBytes(4).toString('hex');
    channel.send({ type: 'test-begin', id, nonce });
    // What prepares a benchmark must not disturb the rounds of another machine.
    onTurn(-1);
    const measure = measureFor(bench.meta, plan, {
      onTurn,
      onRound: (round) => channel.send(round),
    });
    const { abort, ...outcome } = runCase(
      { ...bench, body: (context) => bench.body(context, measure) },
      nonce,
    );
    channel.send({ type: 'test-end', id, ...outcome });
    if (abort !== undefined) {
      channel.send({ type: 'abort', reason: `after ${id}: ${abort}` });
      break;
    }
  }
  channel.send({ type: 'bye' });
}
