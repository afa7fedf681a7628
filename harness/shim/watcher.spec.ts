import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as libc from '../abi/libc.ts';
import { Program } from './program.ts';
import { sys } from './sys.ts';
import { EventfdWatcher } from './watcher.ts';

function signal(fd: number, times: number): void {
  const program = new Program();
  const write = program.syscall(
    'write',
    fd,
    program.data(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])),
    8,
  );
  program.repeat(write, times);
  program.run();
}

test('counts every signal, with times', () => {
  const before = readdirSync('/proc/self/fd').length;
  const fds = [sys.eventfd(0, libc.EFD_CLOEXEC), sys.eventfd(0, libc.EFD_NONBLOCK)];
  const watcher = new EventfdWatcher(fds);
  expect(watcher.counts()).toEqual([0n, 0n]);
  const begin = process.hrtime.bigint();
  signal(fds[0] as number, 1000);
  expect(watcher.wait(0, 1000, 5000)).toBe(true);
  expect(watcher.wait(1, 1, 10)).toBe(false);
  signal(fds[1] as number, 7);
  expect(watcher.wait(1, 7n, 5000)).toBe(true);
  expect(watcher.counts()).toEqual([1000n, 7n]);
  const [first] = watcher.arrivals();
  expect(first?.arrivals).toBeGreaterThan(0n);
  expect(first?.arrivals).toBeLessThanOrEqual(1000n);
  expect(first?.first).toBeGreaterThanOrEqual(begin);
  expect(first?.last).toBeGreaterThanOrEqual(first?.first ?? 0n);
  expect(first?.last).toBeLessThanOrEqual(process.hrtime.bigint());
  signal(fds[1] as number, 2);
  watcher.close();
  watcher.close();
  expect(watcher.counts()).toEqual([1000n, 9n]);
  expect(() => watcher.wait(0, 1, 1)).toThrow('closed');
  for (const fd of fds) sys.close(fd);
  expect(readdirSync('/proc/self/fd').length).toBe(before);
});

test('the number of an fd may be used anew meanwhile', () => {
  const fd = sys.eventfd();
  const copy = sys.dup(fd);
  const watcher = new EventfdWatcher([fd]);
  sys.close(fd);
  const reuse = sys.open('/dev/null', 0);
  expect(reuse).toBe(fd);
  signal(copy, 3);
  expect(watcher.wait(0, 3, 5000)).toBe(true);
  watcher.close();
  sys.close(copy);
  sys.close(reuse);
});

test('what cannot be watched is refused', () => {
  expect(() => new EventfdWatcher([-1])).toThrow(/EBADF/);
  const file = sys.open('/etc/passwd', 0);
  expect(() => new EventfdWatcher([file])).toThrow(/EPERM/);
  sys.close(file);
});
