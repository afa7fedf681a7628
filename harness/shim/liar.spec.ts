import { afterEach, expect, test } from 'vitest';
import { decodeBlock } from './block.ts';
import { setLiar } from './liar.ts';
import { Program } from './program.ts';
import { recorder } from './recorder.ts';
import { sys } from './sys.ts';

afterEach(() => {
  setLiar(null);
});

test('is asked for each operation that was executed, run by run', () => {
  const asked: [number, number, string][] = [];
  setLiar(({ run, op, program }) => asked.push([run, op, program.op(op).name]));
  sys.call('getpid');
  const program = new Program();
  program.clock();
  program.stopOnError();
  program.syscall('close', -1);
  program.syscall('getpid');
  program.run();
  expect(asked).toEqual([
    [0, 0, 'getpid'],
    [1, 0, 'clock'],
    [1, 1, 'close'],
  ]);
});

test('what it alters is what everybody sees', () => {
  setLiar(({ op, program }) => {
    const { name, args } = program.op(op);
    if (name === 'getpid') program.forgeResult(op, -5);
    if (name === 'load') program.forgeValue(op, 2n ** 63n);
    if (name === 'read' && args[1]?.kind === 'arena') {
      program.arenaBytes(args[1].offset, 2).write('!!');
    }
  });
  recorder.begin();
  expect(sys.call('getpid')).toBe(-5);
  const [run] = recorder.take();
  expect(decodeBlock(run?.block ?? Buffer.alloc(0)).ops[0]?.result).toBe(-5n);

  const program = new Program();
  const load = program.load(8, program.data(8));
  program.run();
  expect(program.value(load)).toBe(2n ** 63n);

  const fd = sys.open('/dev/zero', 0);
  const buffer = Buffer.alloc(4, 1);
  sys.read(fd, buffer);
  sys.close(fd);
  expect([...buffer]).toEqual([33, 33, 0, 0]);

  setLiar(null);
  expect(sys.call('getpid')).toBe(process.pid);
});

test('can point into any part of the arena, but not beyond', () => {
  const program = new Program();
  const areas = [program.data(2000), program.data(5000), program.data(9)];
  for (const area of areas) {
    expect(program.arenaBytes(area.offset, area.length).buffer).toBe(area.bytes.buffer);
  }
  expect(() => program.arenaBytes(program.arenaSize, 1)).toThrow(RangeError);
});
