import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SetupError } from '../harness/target/errors.ts';
import { JOURNAL_FILE } from './journal.ts';
import { replaceFile } from './replace-file.ts';
import { writeReports } from './results-directory.ts';
import { sampleRun } from './samples.ts';

let directory: string;
beforeEach(() => void (directory = mkdtempSync(join(tmpdir(), 'replace-file-'))));
afterEach(() => rmSync(directory, { recursive: true }));

/** Lets the disk be full for one file. */
const fill = (name: string): void => symlinkSync('/dev/full', join(directory, `.${name}.new`));

describe('a disk that is full', () => {
  it('leaves the old report and no draft of the new one', () => {
    const path = join(directory, 'report');
    replaceFile(path, 'old');
    fill('report');
    expect(() => replaceFile(path, 'new')).toThrow(/ENOSPC/);
    expect(readdirSync(directory)).toEqual(['report']);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  it.each(['results.json', 'junit.xml'])('is said so, with the way to get %s', async (name) => {
    const lines = sampleRun().map((line) => JSON.stringify(line) + '\n');
    writeFileSync(join(directory, JOURNAL_FILE), lines.join(''));
    fill(name);
    const error: unknown = await writeReports(directory).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(SetupError);
    expect(String(error)).toMatch(/ENOSPC/);
    expect(String(error)).toContain(`make room, then \`vfio-conformance report ${directory}\``);
    await writeReports(directory);
    expect(readdirSync(directory)).toContain(name);
  });
});
