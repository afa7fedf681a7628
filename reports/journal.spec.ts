import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Journal, readJournal } from './journal.ts';
import { HOSTILE } from './samples.ts';

describe('journal', () => {
  let folder: string;
  let path: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'journal-'));
    path = join(folder, 'journal.ndjson');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('holds a line when append returns, one an event, whatever is in it', () => {
    const journal = new Journal(path);
    journal.append({ type: 'log', text: HOSTILE }, new Date(0));
    expect(readFileSync(path, 'utf8').split('\n')).toHaveLength(2);
    journal.append({ type: 'bye' }, new Date(1));
    journal.close();
    const [log, bye] = readJournal(path);
    expect(log).toMatchObject({ at: '1970-01-01T00:00:00.000Z', type: 'log' });
    expect(bye).toEqual({ at: '1970-01-01T00:00:00.001Z', type: 'bye' });
  });

  it('appends to what is there', () => {
    for (const text of ['a', 'b']) {
      const journal = new Journal(path);
      journal.append({ type: 'log', text });
      journal.close();
    }
    expect(readJournal(path).map((line) => line.type === 'log' && line.text)).toEqual(['a', 'b']);
  });

  it('leaves out a torn last line', () => {
    const journal = new Journal(path);
    journal.append({ type: 'log', text: 'whole' });
    journal.close();
    appendFileSync(path, '{"at":"2026-11-22T12:00:00.000Z","type":"test-e');
    expect(readJournal(path)).toHaveLength(1);
  });

  it('takes a complete last line that lacks only its newline', () => {
    writeFileSync(path, '{"at":"1970-01-01T00:00:00.000Z","type":"bye"}');
    expect(readJournal(path)).toHaveLength(1);
  });

  it('names a line that is broken in the middle', () => {
    writeFileSync(path, '{"type":"bye"}\n{"type"\n{"type":"bye"}\n');
    expect(() => readJournal(path)).toThrow(/journal\.ndjson:2 is not/);
  });

  it('is empty if the file is', () => {
    writeFileSync(path, '');
    expect(readJournal(path)).toEqual([]);
  });
});
