import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { reduceJournal } from '../../reports/reduce.ts';
import { sampleRun } from '../../reports/samples.ts';
import { tellCi } from './tell-ci.ts';

/** What a job that runs in this environment says. */
function said(env: NodeJS.ProcessEnv): string {
  let text = '';
  tellCi([reduceJournal(sampleRun())], { write: (more: string) => (text += more) } as never, env);
  return text;
}

it('tells a job on GitHub of failures, in its log and on its page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'github-'));
  const summary = join(folder, 'summary.md');
  expect(said({ GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: summary })).toMatch(/^::error /m);
  expect(readFileSync(summary, 'utf8')).toContain('| kernel | machine |');
  rmSync(folder, { recursive: true });
});

it('says nothing elsewhere', () => expect(said({ CI: 'true' })).toBe(''));
