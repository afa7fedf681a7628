import { afterEach, expect, test } from 'vitest';
import { Actor } from './actor.ts';
import { decodeBlock } from './block.ts';
import { runParallel } from './parallel.ts';
import { Program } from './program.ts';
import { recorder } from './recorder.ts';
import { sys } from './sys.ts';

afterEach(() => {
  recorder.take();
});

test('keeps every run with its data from before and after', () => {
  sys.call('getpid');
  recorder.begin();
  const fd = sys.open('/dev/zero', 0);
  sys.read(fd, Buffer.from('abc'));
  sys.close(fd);
  const runs = recorder.take();
  sys.call('getpid');
  expect(runs.map(({ where }) => where)).toEqual(['here', 'here', 'here']);
  const [open, read, close] = runs.map(({ block }) => decodeBlock(block));
  expect(open?.ops[0]).toMatchObject({ name: 'openat', result: BigInt(fd), count: 1n });
  expect(open?.ops[0]?.args[0]).toEqual({ kind: 'immediate', value: 2n ** 64n - 100n });
  expect(open?.ops[0]?.args[1]).toEqual({ kind: 'arena', offset: 0 });
  expect(open?.arena.toString('latin1', 0, 10)).toBe('/dev/zero\0');
  expect(runs[1]?.arenaBefore.toString('latin1', 0, 3)).toBe('abc');
  expect(read?.arena.toString('latin1', 0, 3)).toBe('\0\0\0');
  expect(close?.executed).toBe(1);
  expect(recorder.take()).toEqual([]);
});

test('names the place: threads and other processes', () => {
  const actor = Actor.spawn();
  recorder.begin();
  const program = new Program();
  program.syscall('getpid');
  actor.run(program);
  runParallel([program, new Program()]);
  expect(recorder.take().map(({ where }) => where)).toEqual([
    `process ${actor.pid}`,
    'thread 0',
    'thread 1',
  ]);
  actor.close();
});

test('keeps the first and the last when there is too much', () => {
  recorder.begin(4000);
  for (let i = 0; i < 100; i++) sys.call('close', -i - 1);
  const dropped = recorder.dropped;
  const runs = recorder.take();
  expect(runs.length + dropped).toBe(100);
  expect(dropped).toBeGreaterThan(50);
  expect(runs[0]?.run).toBe(0);
  expect(runs.at(-1)?.run).toBe(99);
  expect(runs.map(({ run }) => run)).toEqual(runs.map(({ run }) => run).toSorted((a, b) => a - b));
  const last = decodeBlock(runs.at(-1)?.block ?? Buffer.alloc(0));
  expect(last.ops[0]?.args[0]).toEqual({ kind: 'immediate', value: 2n ** 64n - 100n });
});

test('blocks of large programs come in one piece', () => {
  recorder.begin();
  const program = new Program();
  const areas = Array.from({ length: 10 }, () => program.data(3000));
  areas.forEach((area, i) => program.store(8, area.at(2999), i + 1));
  for (let i = 0; i < 100; i++) program.syscall('getpid');
  program.run();
  const [run] = recorder.take();
  const block = decodeBlock(run?.block ?? Buffer.alloc(0));
  expect(block.ops).toHaveLength(110);
  areas.forEach((area, i) => {
    expect(block.arena[area.offset + 2999]).toBe(i + 1);
    expect(run?.arenaBefore[area.offset + 2999]).toBe(0);
  });
});

test('a decoder refuses what is no block', () => {
  expect(() => decodeBlock(Buffer.alloc(64))).toThrow(RangeError);
});
