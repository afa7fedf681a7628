import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { outliveReaders } from './lost-readers.ts';

/** Writes all the time; after a signal it has something to do, as a run has its reports. */
const PROGRAM = `
import { writeFileSync } from 'node:fs';
import { interruption } from './interruption.ts';
import { outliveReaders } from './lost-readers.ts';
outliveReaders(process.stdout, process.stderr);
const { signal } = interruption((name) => process.stdout.write(name + ': ending\\n'));
const writing = setInterval(() => process.stderr.write('.'), 20);
signal.addEventListener('abort', () => setTimeout(() => {
  writeFileSync('report', signal.reason);
  process.stdout.write('done\\n');
  process.exitCode = 130;
  clearInterval(writing);
}, 200));
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lost-readers-'));
  buildSync({
    stdin: { contents: PROGRAM, resolveDir: import.meta.dirname, loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: join(folder, 'program.mjs'),
  });
});
afterEach(() => rmSync(folder, { recursive: true }));

const read = (name: string): string => readFileSync(join(folder, name), 'utf8').trim();

describe('a program comes to its own end', () => {
  it('when its terminal is closed', async () => {
    // The terminal is that of `script`, and goes with it; the shell hands the signal on, as login shells do.
    const command = `'${process.execPath}' program.mjs & trap "kill -HUP $!" HUP; wait $!; wait $!; echo $? > status`;
    const terminal = spawn('script', ['-qec', command, '/dev/null'], { cwd: folder });
    await new Promise((resolve) => terminal.stdout.once('data', resolve));
    terminal.kill('SIGKILL');
    await vi.waitUntil(() => existsSync(join(folder, 'status')) && read('status'), 30_000);
    expect(read('report')).toBe('SIGHUP');
    expect(read('status')).toBe('130');
  });

  it('when its pipes are closed', async () => {
    const program = spawn(process.execPath, ['program.mjs'], { cwd: folder });
    const end = new Promise((resolve) => program.once('exit', resolve));
    await new Promise((resolve) => program.stderr.once('data', resolve));
    program.stdout.destroy();
    program.stderr.destroy();
    program.kill('SIGTERM');
    expect(await end).toBe(130);
    expect(read('report')).toBe('SIGTERM');
  });
});

it('what else is wrong with a stream is not passed over', () => {
  const stream = new EventEmitter();
  outliveReaders(stream);
  expect(() => stream.emit('error', Object.assign(new Error(), { code: 'ENOSPC' }))).toThrow();
});
