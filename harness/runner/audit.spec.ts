import { describe, expect, it } from 'vitest';
import type { TestMeta } from '../protocol/test.ts';
import { audit, type AuditOptions } from './audit.ts';
import { ScriptedTarget, type Stage } from './scripted-target.ts';

const ID = 'container.example';

function meta(id: string): TestMeta {
  return {
    id,
    suite: 'container',
    title: 'an example',
    file: 'suites/container/example.test.ts',
    covers: [],
    source: [],
    fixes: [],
    needs: [],
    peer: [],
    timeoutMs: 1000,
  };
}

function options(target: ScriptedTarget, extra: Partial<AuditOptions> = {}): AuditOptions {
  return {
    target,
    tests: [meta(ID)],
    most: 3,
    exceptions: [],
    timeoutScale: 1,
    record: () => undefined,
    signal: new AbortController().signal,
    ...extra,
  };
}

function tell({ say }: Stage, index: number, noticed: boolean): void {
  say({ type: 'lie-begin', id: ID, index, text: `lie ${index}` });
  say({ type: 'lie-end', id: ID, index, noticed, told: true });
}

function finish({ say, end }: Stage): void {
  say({ type: 'audit-end', id: ID, reason: null });
  say({ type: 'bye' });
  end('clean');
}

describe('audit', () => {
  it('counts what was noticed and lists what was not', async () => {
    const target = new ScriptedTarget((stage) => {
      stage.say({ type: 'audit-plan', id: ID, lies: 2 });
      tell(stage, 0, true);
      tell(stage, 1, false);
      finish(stage);
    });
    expect(await audit(options(target))).toEqual([
      { id: ID, told: 2, noticed: 1, unnoticed: ['lie 1'], excused: [], untold: 0, reason: null },
    ]);
  });

  it('counts a lie that kills its session as noticed and goes on behind it', async () => {
    const target = new ScriptedTarget(
      (stage) => {
        tell(stage, 0, true);
        stage.say({ type: 'lie-begin', id: ID, index: 1, text: 'lie 1' });
        stage.end('guest-panic');
      },
      (stage) => {
        tell(stage, 2, true);
        finish(stage);
      },
    );
    const [result] = await audit(options(target));
    expect(result).toMatchObject({ told: 3, noticed: 3, unnoticed: [] });
    expect(target.works.map((work) => work.audit?.from)).toEqual([0, 2]);
  });

  it('does not take a broken emulator for a noticed lie', async () => {
    const target = new ScriptedTarget(
      (stage) => {
        stage.say({ type: 'lie-begin', id: ID, index: 0, text: 'lie 0' });
        stage.end('infrastructure');
      },
      (stage) => {
        tell(stage, 0, false);
        finish(stage);
      },
    );
    const [result] = await audit(options(target));
    expect(result).toMatchObject({ told: 1, noticed: 0 });
  });

  it('gives up a test that no session survives', async () => {
    const target = new ScriptedTarget((stage) => stage.end('guest-panic', 'boom'));
    const [result] = await audit(options(target));
    expect(result?.reason).toContain('boom');
  });

  it('counts excused lies apart', async () => {
    const target = new ScriptedTarget((stage) => {
      tell(stage, 0, false);
      finish(stage);
    });
    const exceptions = [
      { reason: 'nobody can know', matches: (_: string, lie: string) => lie === 'lie 0' },
    ];
    const [result] = await audit(options(target, { exceptions }));
    expect(result).toMatchObject({
      told: 0,
      excused: [{ lie: 'lie 0', reason: 'nobody can know' }],
    });
  });
});
