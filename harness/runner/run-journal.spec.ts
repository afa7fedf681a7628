import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Journal } from '../../reports/journal.ts';
import { RunJournal } from './run-journal.ts';

let directory: string;

beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'run-journal-'))));
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true });
});

/** For the next line. */
function fillDisk(): void {
  vi.spyOn(Journal.prototype, 'append').mockImplementationOnce(() => {
    throw new Error('ENOSPC');
  });
}

it('ends a run for which there is no room, and says how to go on', () => {
  const enough = new AbortController();
  const journal = new RunJournal(directory, 'fuzz', enough);
  expect(journal.append({ type: 'progress', text: 'booting' })).not.toBeNull();
  fillDisk();
  expect(journal.append({ type: 'progress', text: 'booted' })).toBeNull();
  expect(enough.signal.aborted).toBe(true);
  expect(journal.lost?.message).toContain(`vfio-conformance fuzz --resume ${directory}`);
  expect(journal.append({ type: 'progress', text: 'nobody listens' })).toBeNull();
});

it('leaves nothing to go on with where there was no room from the start', () => {
  fillDisk();
  const journal = new RunJournal(directory, 'run', new AbortController());
  expect(journal.append({ type: 'progress', text: 'booting' })).toBeNull();
  expect(journal.lost?.message).toMatch(/ENOSPC.*choose another directory with --results/s);
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
