import { describe, expect, it } from 'vitest';
import type { JournalEvent } from '../../reports/journal.ts';
import { reduceJournal } from '../../reports/reduce.ts';
import { asLines, sampleBegin, sampleTest } from '../../reports/samples.ts';
import { campaign } from './fuzz.ts';
import { planSlices } from './fuzz-plan.ts';
import { ScriptedTarget, type Script, type Stage } from './scripted-target.ts';

const TESTS = ['a.fuzz.one', 'a.fuzz.two'].map((id) => sampleTest(id));
const SLICES = planSlices({
  ids: TESTS.map(({ id }) => id),
  runs: 10,
  seed: 7,
  jobs: 1,
  shard: { index: 1, count: 1 },
});
const DONE = { operations: 90, durationMs: 2, executionMs: 1, skip: [], functions: null };

function end(stage: Stage, slice: number): void {
  const id = TESTS[slice]!.id;
  stage.say({ type: 'fuzz-begin', id, slice });
  stage.say({ type: 'fuzz-end', id, slice, programs: 10, ...DONE });
}

const finish: Script = (stage) => {
  stage.hello();
  end(stage, 1);
  stage.end('clean');
};

async function run(...scripts: Script[]) {
  const target = new ScriptedTarget(...scripts);
  const events: JournalEvent[] = [{ ...sampleBegin(TESTS), fuzz: SLICES }];
  const runEnd = await campaign({
    targets: [target],
    tests: TESTS,
    slices: SLICES,
    timeoutScale: 1,
    maxDeaths: 3,
    record: (event) => void events.push(event),
    progress: () => {},
    signal: new AbortController().signal,
  });
  return {
    runEnd,
    target,
    results: reduceJournal(asLines([...events, { type: 'run-end', ...runEnd }])),
  };
}

const dies: Script = (stage) => {
  stage.hello();
  stage.say({ type: 'fuzz-begin', id: 'a.fuzz.one', slice: 0 });
  stage.say({ type: 'fuzz-program', index: 3, program: null });
  stage.end('guest-panic', 'Oops');
};

describe('a campaign', () => {
  it('goes on behind the program that killed its guest', async () => {
    const { runEnd, target, results } = await run(dies, (stage) => {
      stage.hello();
      end(stage, 0);
      end(stage, 1);
      stage.end('clean');
    });
    expect(runEnd.outcome).toBe('finished');
    expect(target.works[1]?.fuzz?.map(({ id, from }) => [id, from])).toEqual([
      ['a.fuzz.one', 4],
      ['a.fuzz.two', 0],
    ]);
    expect(results.tests.map(({ id, status }) => [id, status])).toEqual([
      ['a.fuzz.one', 'crash'],
      ['a.fuzz.two', 'pass'],
    ]);
    const [crash] = results.tests;
    expect(crash?.rerun).toContain("a.fuzz.one --replay '7:3'");
    expect(crash?.failure?.message).toContain('the kernel panicked');
    expect(crash?.failure?.calls).not.toEqual([]);
  });

  it('tells the same failure once and others beside it', async () => {
    const finding = (message: string) => ({
      type: 'fuzz-finding' as const,
      id: 'a.fuzz.one',
      seed: 7,
      index: 1,
      program: 'map; map',
      status: 'fail' as const,
      durationMs: 1,
      failure: { kind: 'assertion' as const, message, calls: [], hints: [] },
      kernelLog: [],
    });
    const { results } = await run((stage) => {
      stage.hello();
      stage.say({ type: 'fuzz-begin', id: 'a.fuzz.one', slice: 0 });
      for (const message of ['map: result', 'map: result', 'unmap: result']) {
        stage.say(finding(message));
      }
      end(stage, 0);
      end(stage, 1);
      stage.end('clean');
    });
    expect(results.tests.map(({ id, status }) => [id, status])).toEqual([
      ['a.fuzz.one', 'fail'],
      ['a.fuzz.two', 'pass'],
      ['a.fuzz.one#2', 'fail'],
    ]);
  });

  it('gives up after too many deaths', async () => {
    const { runEnd } = await run(dies);
    expect(runEnd.outcome).toBe('aborted');
  });

  it('gives up on a target that runs no program', async () => {
    const { runEnd } = await run((stage) => stage.end('infrastructure', 'no QEMU'));
    expect(runEnd).toEqual({ outcome: 'broken', reason: 'no QEMU' });
  });
});

it('ends when all slices are done', async () => {
  const { runEnd, target } = await run((stage) => {
    stage.hello();
    end(stage, 0);
    stage.end('clean');
  }, finish);
  expect(runEnd.outcome).toBe('finished');
  expect(target.works).toHaveLength(2);
});
