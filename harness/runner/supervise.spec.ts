import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { JournalEvent } from '../../reports/journal.ts';
import { reduceJournal } from '../../reports/reduce.ts';
import type { RunResults } from '../../reports/results.ts';
import { asLines, sampleBegin, sampleTest } from '../../reports/samples.ts';
import { SetupError } from '../target/errors.ts';
import { ScriptedTarget, type Script } from './scripted-target.ts';
import { supervise, type SuperviseOptions } from './supervise.ts';

const IDS = ['s.a', 's.b', 's.c'];

async function play(
  scripts: Script[],
  options: Partial<SuperviseOptions> & { ids?: string[] } = {},
): Promise<{ results: RunResults; target: ScriptedTarget; events: JournalEvent[] }> {
  const tests = (options.ids ?? IDS).map((id) => sampleTest(id, { timeoutMs: 100 }));
  const target = new ScriptedTarget(...scripts);
  const events: JournalEvent[] = [sampleBegin(tests)];
  const end = await supervise({
    target,
    tests,
    record: (event) => events.push(event),
    timeoutScale: 1,
    maxDeaths: 10,
    signal: new AbortController().signal,
    silenceMs: 200,
    ...options,
  });
  events.push({ type: 'run-end', ...end });
  expect(target.alive).toBe(0);
  return { results: reduceJournal(asLines(events)), target, events };
}

const all: Script = (stage) => {
  stage.hello();
  stage.finish();
};
const statuses = (results: RunResults): string[] =>
  results.tests.map(({ id, status }) => `${id} ${status}`);
/** Passes `s.a`, begins `s.b`, and leaves the rest to the given end. */
const dieInB =
  (end: Script): Script =>
  async (stage) => {
    stage.hello();
    if (stage.tests.includes('s.a')) {
      stage.begin('s.a');
      stage.pass('s.a');
    }
    if (!stage.tests.includes('s.b')) return stage.finish();
    stage.begin('s.b');
    await end(stage);
  };

describe('supervise', () => {
  it('runs all tests in one session', async () => {
    const { results, target } = await play([all]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b pass', 's.c pass']);
    expect(results.run).toMatchObject({ outcome: 'finished', exitCode: 0 });
    expect(target.assigned).toEqual([IDS]);
  });

  it.each(['guest-panic', 'guest-died', 'worker-died'] as const)(
    'attributes %s to the test it happened in and goes on behind it',
    async (kind) => {
      const tail = ['[    9.000000] Kernel panic - not syncing: sysrq'];
      const before = ['[    1.000000] boot', '[    8.000000] vfio-conformance: begin s.b nonce-b'];
      const { results, target } = await play([
        dieInB((stage) => stage.end(kind, 'why', [...before, ...tail])),
        all,
      ]);
      expect(statuses(results)).toEqual(['s.a pass', 's.b crash', 's.c pass']);
      expect(target.assigned).toEqual([IDS, ['s.c']]);
      expect(results.tests[1]?.failure?.message).toContain('why');
      expect(results.tests[1]?.kernelLog).toEqual(tail);
      expect(results.run).toMatchObject({ outcome: 'finished', exitCode: 5 });
      expect(results.run.sessions[0]).toMatchObject({ end: kind, during: 's.b' });
    },
  );

  it("puts a dead worker's last words into the failure", async () => {
    const { results } = await play([
      dieInB((stage) => {
        stage.say({ type: 'log', text: 'about to go' });
        stage.end('worker-died', 'signal SIGSEGV', ['Segmentation fault']);
      }),
      all,
    ]);
    const { failure, kernelLog } = results.tests[1] ?? {};
    expect(failure?.message).toMatch(/SIGSEGV[^]*about to go[^]*Segmentation fault/);
    expect(kernelLog).toEqual([]);
  });

  it('kills a test that hangs, keeps the evidence, goes on behind it', async () => {
    const { results, target } = await play([dieInB(() => undefined), all]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b timeout', 's.c pass']);
    expect(results.tests[1]?.failure?.stack).toContain('blocked tasks');
    expect(results.tests[1]?.durationMs).toBeGreaterThanOrEqual(99);
    expect(target.kills).toBeGreaterThan(0);
    expect(results.run.exitCode).toBe(1);
  });

  it('does not believe a test that ends after it was found hanging', async () => {
    let evidence: (lines: string[]) => void = () => undefined;
    const target = new ScriptedTarget(
      dieInB(async (stage) => {
        await sleep(150);
        stage.pass('s.b');
        stage.begin('s.c');
        evidence(['late']);
      }),
      all,
    );
    const start = target.start.bind(target);
    target.start = async (...args) => ({
      ...(await start(...args)),
      hangEvidence: () => new Promise((resolve) => (evidence = resolve)),
    });
    const { results } = await play([], { target });
    expect(statuses(results)).toEqual(['s.a pass', 's.b timeout', 's.c pass']);
    expect(target.assigned[1]).toEqual(['s.c']);
  });

  it('does not wait for evidence for ever', async () => {
    const target = new ScriptedTarget(
      dieInB(() => undefined),
      all,
    );
    const start = target.start.bind(target);
    target.start = async (...args) => ({
      ...(await start(...args)),
      hangEvidence: () => new Promise(() => undefined),
    });
    const { results } = await play([], { target, evidenceMs: 50 });
    expect(results.tests[1]?.failure?.stack).toContain('no evidence');
  });

  it('repeats a test when the target broke, and calls it a crash never', async () => {
    const broken = dieInB((stage) => stage.end('infrastructure', 'QEMU assertion'));
    const { results, target } = await play([broken, broken, all]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b pass', 's.c pass']);
    expect(target.assigned).toEqual([IDS, ['s.b', 's.c'], ['s.b', 's.c']]);
    expect(results.run.exitCode).toBe(0);
  });

  it('gives a test up as an error when the target breaks in it every time', async () => {
    const broken = dieInB((stage) => stage.end('infrastructure', 'QEMU assertion'));
    const { results, target } = await play([broken]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b error', 's.c pass']);
    expect(target.assigned).toHaveLength(4);
    expect(results.tests[1]?.failure).toMatchObject({ kind: 'setup' });
    expect(results.run.exitCode).toBe(3);
  });

  it('goes on behind an abort in a fresh session', async () => {
    const { results, target } = await play([
      (stage) => {
        stage.hello();
        stage.begin('s.a');
        stage.pass('s.a');
        stage.say({ type: 'abort', reason: 'device stays busy' });
        stage.end('worker-died');
      },
      all,
    ]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b pass', 's.c pass']);
    expect(target.assigned[1]).toEqual(['s.b', 's.c']);
    expect(results.run.exitCode).toBe(0);
    expect(results.run.sessions[0]?.detail).toContain('device stays busy');
  });

  it('makes an abort within a test an error of that test', async () => {
    const { results } = await play([
      dieInB((stage) => {
        stage.say({ type: 'abort', reason: 'cannot restore' });
        stage.end('clean');
      }),
      all,
    ]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b error', 's.c pass']);
  });

  it('notices a death between two tests without blaming one', async () => {
    const { results } = await play([
      (stage) => {
        stage.hello();
        stage.begin('s.a');
        stage.pass('s.a');
        stage.end('guest-panic', 'late');
      },
      all,
    ]);
    expect(statuses(results)).toEqual(['s.a pass', 's.b pass', 's.c pass']);
    expect(results.run).toMatchObject({ outcome: 'finished', exitCode: 5 });
  });

  it('gives the run up after so many deaths', async () => {
    const ids = ['s.1', 's.2', 's.3', 's.4'];
    const die: Script = (stage) => {
      stage.hello();
      stage.begin(stage.tests[0] ?? '');
      stage.end('guest-panic');
    };
    const { results } = await play([die], { ids, maxDeaths: 2 });
    expect(statuses(results)).toEqual(['s.1 crash', 's.2 crash']);
    expect(results.run).toMatchObject({
      outcome: 'aborted',
      notRun: ['s.3', 's.4'],
      exitCode: 5,
      reason: expect.stringContaining('2 deaths') as string,
    });
  });

  it('gives up on a guest that never comes up, as an error of the harness', async () => {
    const { results, target } = await play([(stage) => stage.end('infrastructure', 'no boot')]);
    expect(target.assigned).toHaveLength(3);
    expect(results.run).toMatchObject({ outcome: 'broken', notRun: IDS, exitCode: 3 });
    expect(results.run.reason).toContain('no boot');
  });

  it('kills a session that falls silent while it starts', async () => {
    const { results, target } = await play([() => undefined, all]);
    expect(target.assigned).toHaveLength(2);
    expect(results.run).toMatchObject({ outcome: 'finished', exitCode: 0 });
    expect(results.run.sessions[0]).toMatchObject({ end: 'infrastructure' });
  });

  it('lets progress keep a slow start alive', async () => {
    const { target } = await play([
      async (stage) => {
        for (let i = 0; i < 4; i++) {
          await sleep(100);
          stage.progress(`step ${i}`);
        }
        await all(stage);
      },
    ]);
    expect(target.assigned).toHaveLength(1);
  });

  it('takes silence between two tests for a death', async () => {
    const { results } = await play([(stage) => stage.hello(), all]);
    expect(results.run.sessions[0]).toMatchObject({ end: 'guest-died', during: null });
    expect(results.run.exitCode).toBe(5);
  });

  it('repeats what a worker left out, but not for ever', async () => {
    const lazy: Script = (stage) => {
      stage.hello();
      stage.say({ type: 'bye' });
      stage.end('clean');
    };
    const { results, target } = await play([lazy]);
    expect(target.assigned).toHaveLength(3);
    expect(results.run.outcome).toBe('broken');
  });

  it('survives a target that cannot start a session now and then', async () => {
    const target = new ScriptedTarget(all);
    const start = target.start.bind(target);
    let failures = 2;
    target.start = (...args) =>
      failures-- > 0 ? Promise.reject(new Error('port in use')) : start(...args);
    const { results } = await play([], { target });
    expect(results.run.exitCode).toBe(0);
  });

  it('passes on at once what a person must repair', async () => {
    const target = new ScriptedTarget(all);
    target.start = () => Promise.reject(new SetupError('no QEMU', 'install it'));
    await expect(play([], { target })).rejects.toThrow('no QEMU');
  });

  it('refuses a worker of another protocol', async () => {
    const stranger: Script = (stage) => stage.say({ type: 'hello', protocol: 99, environment: {} });
    await expect(play([stranger])).rejects.toThrow(/protocol 99/);
  });

  it('ends at once on an interruption and keeps what it has', async () => {
    const controller = new AbortController();
    const { results, target } = await play(
      [
        dieInB(() => {
          controller.abort('SIGINT');
        }),
      ],
      { signal: controller.signal },
    );
    expect(statuses(results)).toEqual(['s.a pass']);
    expect(target.assigned).toHaveLength(1);
    expect(results.run).toMatchObject({
      outcome: 'interrupted',
      reason: 'SIGINT',
      notRun: ['s.b', 's.c'],
      exitCode: 130,
    });
  });

  it('starts nothing when it was interrupted before', async () => {
    const { target } = await play([all], { signal: AbortSignal.abort('SIGTERM') });
    expect(target.assigned).toEqual([]);
  });
});
