import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { compareBenches } from '../../reports/bench/compare.ts';
import type { JournalEvent } from '../../reports/journal.ts';
import { sampleTest } from '../../reports/samples.ts';
import type { BenchMeta } from '../protocol/bench.ts';
import { runBenches, type BenchSide } from './bench.ts';
import { ScriptedTarget, type Script } from './scripted-target.ts';

const folder = mkdtempSync(join(tmpdir(), 'bench-'));
afterAll(() => rmSync(folder, { recursive: true }));

const METHOD = {
  rounds: 3,
  roundMs: 1,
  roundSamples: 10,
  warmUpMs: 0,
  plantedDelay: 0,
  confidence: 0.95,
};

function meta(id: string): BenchMeta {
  return { ...sampleTest(id), timeoutMs: 10_000, operations: [], parameters: {}, units: {} };
}

/** Measures every benchmark it is given: each sample takes this long. */
function worker(ns: number): Script {
  return async (stage) => {
    stage.hello();
    for (const id of stage.tests) {
      stage.begin(id);
      await stage.ask('turn', { id, round: -1 });
      for (let round = 0; round < METHOD.rounds; round++) {
        await stage.ask('turn', { id, round });
        stage.say({
          type: 'bench-round',
          id,
          round,
          samples: [ns, ns, ns],
          reference: false,
          stealMs: 0,
          preemptions: 0,
        });
      }
      stage.pass(id);
    }
    stage.say({ type: 'bye' });
    stage.end('clean');
  };
}

function side(number: number, ...scripts: Script[]): BenchSide {
  const directory = join(folder, `${expect.getState().currentTestName}-${number}`);
  mkdirSync(directory);
  return {
    target: new ScriptedTarget(...scripts),
    directory,
    kernel: '7.3.4',
    method: METHOD,
    interleaved: { id: 'both', side: number, sides: 2 },
  };
}

async function measure(sides: BenchSide[], ...ids: string[]) {
  const events: { side: number; event: JournalEvent }[] = [];
  const results = await runBenches({
    sides,
    benches: ids.map(meta),
    machine: 'default',
    version: '0',
    command: [],
    timeoutScale: 1,
    signal: new AbortController().signal,
    show: (number, event) => events.push({ side: number, event }),
  });
  return { results, events };
}

it('measures two kernels in turn, and the comparison knows', async () => {
  const sides = [side(0, worker(1000)), side(1, worker(1100))];
  const { results, events } = await measure(sides, 's.a', 's.b');
  const order = events.flatMap((one) => (one.event.type === 'bench-round' ? [one.side] : []));
  expect(order).toEqual([0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 1]);
  const { interleaved, operations } = compareBenches(results[0]!, results[1]!, 5);
  expect(interleaved).toBe(true);
  expect(operations.map(({ verdict }) => verdict)).toEqual(['slower', 'slower']);
});

it('goes on behind a benchmark that kills its kernel, and so do the others', async () => {
  const dying: Script = async (stage) => {
    stage.hello();
    stage.begin('s.a');
    await stage.ask('turn', { id: 's.a', round: -1 });
    void stage.ask('turn', { id: 's.a', round: 0 });
    stage.end('guest-panic', 'Oops');
  };
  const { results } = await measure(
    [side(0, dying, worker(1000)), side(1, worker(1000))],
    's.a',
    's.b',
  );
  const statuses = results.map(({ benchmarks }) => benchmarks.map(({ status }) => status));
  expect(statuses).toEqual([
    ['crash', 'pass'],
    ['pass', 'pass'],
  ]);
});
