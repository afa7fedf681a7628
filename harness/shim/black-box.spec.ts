import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Actor } from './actor.ts';
import { beginBlackBox, openBlackBox, readBlackBox } from './black-box.ts';
import { EFD_CLOEXEC } from '../abi/libc.ts';
import { decodeBlock, decodeOp, HEADER_SIZE, OP_SIZE } from './block.ts';
import { runParallel } from './parallel.ts';
import { Program } from './program.ts';
import { sys } from './sys.ts';

const SIZE = 64 * 1024;
let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'black-box-'));
  file = join(folder, 'box');
  writeFileSync(file, '');
  truncateSync(file, SIZE);
  openBlackBox(file, SIZE);
});
afterAll(() => rmSync(folder, { recursive: true }));

const found = () => readBlackBox(readFileSync(file));
const ops = () => found().flatMap(({ block }) => decodeBlock(block).ops);

test('holds what was executed, with the data before and after', () => {
  beginBlackBox();
  const fd = sys.open('/dev/zero', 0);
  sys.read(fd, Buffer.from('abc'));
  sys.close(fd);
  expect(ops().map(({ name }) => name)).toEqual(['openat', 'read', 'close']);
  const [, read] = found();
  expect(read?.arenaBefore.toString('latin1', 0, 3)).toBe('abc');
  expect(decodeBlock(read?.block ?? Buffer.alloc(0)).arena.toString('latin1', 0, 3)).toBe('\0\0\0');
});

test('shows a call that has not returned as begun without an end', () => {
  beginBlackBox();
  const fd = sys.open(file, 0);
  const program = new Program();
  const seen = program.data(OP_SIZE);
  // The record of this very call: behind what lies there already, the entry's header, data and header.
  const place = Number(readFileSync(file).readBigUInt64LE(8)) + 16 + OP_SIZE + HEADER_SIZE;
  const pread = program.syscall('pread', fd, seen, OP_SIZE, place);
  program.run();
  expect(program.result(pread)).toBe(OP_SIZE);
  const during = decodeOp(seen.bytes, 0);
  expect(during).toMatchObject({ name: 'pread', end: 0n, count: 1n, result: -125n });
  expect(during.start).toBeGreaterThan(0n);
  sys.close(fd);
});

test('names threads', () => {
  beginBlackBox();
  const program = new Program();
  program.syscall('getpid');
  runParallel([program, new Program()]);
  expect(
    found()
      .map(({ where }) => where)
      .sort(),
  ).toEqual(['thread 0', 'thread 1']);
});

test('shows how far an actor has come', () => {
  beginBlackBox();
  const fd = sys.eventfd(0, EFD_CLOEXEC);
  const actor = Actor.spawn({ inheritFds: [fd] });
  const program = new Program();
  const counter = program.data(8);
  program.syscall('getpid');
  program.syscall('read', fd, counter, 8);
  program.syscall('getppid');
  actor.start(program);
  const during = () => found().find(({ where }) => where === `process ${actor.pid}`);
  const calls = () => decodeBlock(during()?.block ?? Buffer.alloc(0)).ops;
  while (calls()[1]?.start === 0n) sys.poll([], 1);
  expect(calls().map(({ result }) => Number(result))).toEqual([actor.pid, -125, -125]);
  sys.write(fd, Buffer.from([7, 0, 0, 0, 0, 0, 0, 0]));
  actor.join();
  expect(calls().map(({ result }) => Number(result))).toEqual([actor.pid, 8, process.pid]);
  expect(decodeBlock(during()?.block ?? Buffer.alloc(0)).arena.readUInt8()).toBe(7);
  actor.close();
  sys.close(fd);
});

test('keeps the first and the last when there is too much', () => {
  beginBlackBox();
  for (let i = 0; i < 1000; i++) sys.call('close', -i - 1);
  const runs = found();
  expect(runs[0]?.run).toBe(0);
  expect(runs.at(-1)?.run).toBe(999);
  expect(runs.length).toBeLessThan(1000);
});

test('a new test begins with an empty box', () => {
  sys.call('getpid');
  beginBlackBox();
  expect(found()).toEqual([]);
});

test('nothing is read out of what is no box', () => {
  expect(readBlackBox(Buffer.alloc(0))).toEqual([]);
  expect(readBlackBox(Buffer.alloc(SIZE))).toEqual([]);
});
