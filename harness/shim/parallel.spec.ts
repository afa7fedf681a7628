import { expect, test } from 'vitest';
import { ERRNO } from '../abi/errno.ts';
import { DmaMemory } from './dma-memory.ts';
import { runParallel } from './parallel.ts';
import { Program } from './program.ts';

test('each program runs in a thread of its own, faults included', () => {
  const programs = Array.from({ length: 4 }, (_, i) => {
    const program = new Program();
    const data = program.data(8);
    const tid = program.syscall('gettid');
    program.store(32, data, i + 1);
    const fault = program.load(8, 0);
    return { program, data, tid, fault };
  });
  runParallel(programs.map(({ program }) => program));
  const tids = programs.map(({ program, tid }) => program.result(tid));
  expect(new Set([...tids, process.pid]).size).toBe(5);
  programs.forEach(({ program, data, fault }, i) => {
    expect(data.bytes.readUInt32LE()).toBe(i + 1);
    expect(program.result(fault)).toBe(-ERRNO.EFAULT);
  });
});

test('they run at the same time: one waits for the other', () => {
  const memory = DmaMemory.allocate({ size: 4096 });
  const [ping, pong] = [new Program().stopOnError(), new Program().stopOnError()] as const;
  const second = 1_000_000_000;
  for (let round = 0; round < 20; round++) {
    ping.store(32, memory.address, 2 * round + 1);
    ping.wait(32, memory.address, -1n & 0xffffffffn, 2 * round + 2, 5 * second);
    pong.wait(32, memory.address, 0xffffffff, 2 * round + 1, 5 * second);
    pong.store(32, memory.address, 2 * round + 2);
  }
  runParallel([ping, pong]);
  expect(ping.executed).toBe(40);
  expect(pong.executed).toBe(40);
  expect(memory.read(0, 4).readUInt32LE()).toBe(40);
  memory.free();
});

test('none, and large ones', () => {
  runParallel([]);
  const programs = [1, 2].map(() => new Program());
  const data = programs.map((program) => program.data(100_000));
  programs.forEach((program, i) => {
    for (let op = 0; op < 500; op++) program.store(16, data[i]?.at(2 * op) ?? 0, op + i);
  });
  runParallel(programs);
  expect(data.map(({ bytes }) => bytes.readUInt16LE(998))).toEqual([499, 500]);
});
