import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { JOURNAL_FILE } from '../../reports/journal.ts';
import { RunJournal } from './run-journal.ts';

let directory: string;

beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'run-journal-'))));
afterEach(() => rmSync(directory, { recursive: true }));

it('ends a run for which there is no room, and says how to go on', () => {
  symlinkSync('/dev/full', join(directory, JOURNAL_FILE));
  const enough = new AbortController();
  const journal = new RunJournal(directory, 'fuzz', enough);
  expect(journal.append({ type: 'progress', text: 'booting' })).toBeNull();
  expect(enough.signal.aborted).toBe(true);
  expect(journal.lost?.message).toContain(`vfio-conformance fuzz --resume ${directory}`);
  expect(journal.append({ type: 'progress', text: 'nobody listens' })).toBeNull();
});

it('hands out what it has written', () => {
  const journal = new RunJournal(directory, 'run', new AbortController());
  expect(journal.append({ type: 'progress', text: 'booting' }, 1)).toMatchObject({
    lane: 1,
    text: 'booting',
  });
  expect(journal.lost).toBeNull();
  journal.close();
});
