import { expect, it } from 'vitest';
import { KernelError, sys } from '../shim/index.ts';
import { TimedLoop } from './timed-loop.ts';

it('samples each operation of each iteration', () => {
  const loop = new TimedLoop(
    (program, timed) => {
      timed('short', program.spin(1000));
      timed('long', program.spin(5000));
    },
    ['short', 'long'],
    {},
  );
  const { samples, durationNs } = loop.run(20);
  const [short = [], long = []] = ['short', 'long'].map((name) => samples.get(name));
  expect(short).toHaveLength(20);
  expect(Math.min(...short)).toBeGreaterThanOrEqual(1000);
  expect(Math.min(...long)).toBeGreaterThanOrEqual(5000);
  expect(durationNs).toBeGreaterThanOrEqual(20 * 6000);
});

it('adds a delay to the samples of an operation', () => {
  const loop = new TimedLoop((program, timed) => timed('', program.yield()), [], {});
  const { samples } = loop.run(5, new Map([['', 50_000]]));
  expect(Math.min(...samples.get('')!)).toBeGreaterThanOrEqual(50_000);
});

it('iterates in several threads', () => {
  const seen = new Set<number>();
  const loop = new TimedLoop(
    (program, timed, thread) => {
      seen.add(thread);
      timed('', program.spin(1000));
    },
    [],
    { threads: 3 },
  );
  expect(loop.run(4).samples.get('')).toHaveLength(12);
  expect(seen).toEqual(new Set([0, 1, 2]));
});

it('measures until a partner in another thread has seen it', () => {
  const [there, back] = [sys.eventfd(), sys.eventfd()];
  const loop = new TimedLoop(
    (program, timed) => {
      const one = program.data(8);
      one.bytes.writeBigUInt64LE(1n);
      timed('', program.syscall('write', there, one, 8));
      program.syscall('read', back, program.data(8), 8);
    },
    [],
    {
      partner: (program) => {
        const one = program.data(8);
        one.bytes.writeBigUInt64LE(1n);
        const seen = program.syscall('read', there, program.data(8), 8);
        program.spin(20_000);
        program.syscall('write', back, one, 8);
        return seen;
      },
    },
  );
  const times = loop.run(5).samples.get('')!;
  expect(times).toHaveLength(5);
  expect(Math.min(...times)).toBeGreaterThan(0);
  sys.close(there);
  sys.close(back);
});

it('names the operation that failed', () => {
  const loop = new TimedLoop((program, timed) => timed('', program.syscall('close', -1)), [], {});
  expect(() => loop.run(3)).toThrow(KernelError);
  expect(() => loop.run(3)).toThrow(/close/);
});
