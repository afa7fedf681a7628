import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import * as libc from '../abi/libc.ts';
import { ERRNO } from '../abi/errno.ts';
import { Actor } from './actor.ts';
import type { ActorOptions } from './actor.ts';
import { KernelError } from './kernel-error.ts';
import { Program } from './program.ts';
import { sys } from './sys.ts';

const actors: Actor[] = [];

function spawn(options?: ActorOptions): Actor {
  const actor = Actor.spawn(options);
  actors.push(actor);
  return actor;
}

afterEach(() => {
  for (const actor of actors.splice(0)) actor.close();
});

function errnoOf(action: () => void): string {
  try {
    action();
  } catch (error) {
    if (error instanceof KernelError) return error.errnoName;
    throw error;
  }
  return 'none';
}

test('a program runs in another process, again and growing', () => {
  const actor = spawn();
  const program = new Program();
  const pid = program.syscall('getpid');
  const data = program.data('from here');
  const fault = program.load(8, 0);
  for (let i = 0; i < 3; i++) {
    actor.run(program);
    expect(program.result(pid)).toBe(actor.pid);
    expect(program.result(fault)).toBe(-ERRNO.EFAULT);
    const more = program.data(50_000 * 4 ** i);
    const last = more.length - 1;
    const store = program.store(8, more.at(last), 0xa5);
    actor.run(program);
    expect(program.result(store)).toBe(0);
    expect(more.bytes.readUInt8(last)).toBe(0xa5);
  }
  expect(data.bytes.toString('latin1', 0, 9)).toBe('from here');
  expect(actor.pid).not.toBe(process.pid);
  program.run();
  expect(program.result(pid)).toBe(process.pid);
});

test('it gets the fds it is to have, under their numbers, and no others', () => {
  const fd = sys.eventfd(0, libc.EFD_CLOEXEC);
  const other = sys.eventfd(0, 0);
  const actor = spawn({ inheritFds: [fd] });
  const program = new Program();
  const one = program.data(Buffer.from([9, 0, 0, 0, 0, 0, 0, 0]));
  const write = program.syscall('write', fd, one, 8);
  const refused = program.syscall('write', other, one, 8);
  actor.run(program);
  expect(program.result(write)).toBe(8);
  expect(program.result(refused)).toBe(-ERRNO.EBADF);
  const value = Buffer.alloc(8);
  expect(sys.read(fd, value)).toBe(8);
  expect(value.readBigUInt64LE()).toBe(9n);
  // stdin, stdout, stderr, the memfd, two pipes and what was asked for
  expect(readdirSync(`/proc/${actor.pid}/fd`).length).toBeLessThanOrEqual(7);
  sys.close(fd);
  sys.close(other);
  expect(errnoOf(() => spawn({ inheritFds: [fd] }))).toBe('EBADF');
});

test('resource limits', () => {
  const actor = spawn({ rlimits: { RLIMIT_MEMLOCK: 65536, RLIMIT_NOFILE: 50n } });
  const program = new Program();
  const limits = program.data(16);
  program.syscall('prlimit64', 0, libc.RLIMIT_MEMLOCK, 0, limits);
  const dup = program.syscall('fcntl', 0, libc.F_DUPFD, 49);
  const beyond = program.syscall('fcntl', 0, libc.F_DUPFD, 50);
  actor.run(program);
  expect(limits.bytes.readBigUInt64LE(0)).toBe(65536n);
  expect(limits.bytes.readBigUInt64LE(8)).toBe(65536n);
  expect(program.result(dup)).toBe(49);
  expect(program.result(beyond)).toBe(-ERRNO.EINVAL);
  expect(() => spawn({ rlimits: { RLIMIT_NOFILE: Infinity } })).toThrow(/set resource limits/);
});

test('another user, without privileges', () => {
  const actor = spawn({ uid: 65534, gid: 65534, rlimits: { RLIMIT_MEMLOCK: 0 } });
  const program = new Program();
  const uid = program.syscall('getuid');
  const lock = program.syscall('mlockall', libc.MCL_CURRENT);
  const open = program.syscall('openat', libc.AT_FDCWD, program.data('/etc/shadow'), 0);
  actor.run(program);
  expect(program.result(uid)).toBe(65534);
  expect(program.result(lock)).toBe(-ERRNO.EPERM);
  expect(program.result(open)).toBe(-ERRNO.EACCES);
  const status = readFileSync(`/proc/${actor.pid}/status`, 'utf8');
  expect(status).toMatch(/^Gid:\t65534\t65534\t65534/m);
  expect(status).toMatch(/^Groups:\s*$/m);
  expect(status).toMatch(/^CapEff:\t0+$/m);
});

test('root without capabilities', () => {
  const actor = spawn({ dropCaps: true, uid: 0 });
  const status = readFileSync(`/proc/${actor.pid}/status`, 'utf8');
  expect(status).toMatch(/^Uid:\t0\t0/m);
  expect(status).toMatch(/^CapEff:\t0+$/m);
  expect(status).toMatch(/^CapPrm:\t0+$/m);
});

test('start and join overlap with this process', () => {
  const fd = sys.eventfd(0, 0);
  const actor = spawn({ inheritFds: [fd] });
  const program = new Program();
  const area = program.data(8);
  const read = program.syscall('read', fd, area, 8);
  actor.start(program);
  expect(() => actor.start(program)).toThrow('busy');
  expect(errnoOf(() => actor.join(20))).toBe('ETIMEDOUT');
  expect(sys.write(fd, Buffer.from([5, 0, 0, 0, 0, 0, 0, 0]))).toBe(8);
  actor.join();
  expect(program.result(read)).toBe(8);
  expect(area.bytes.readUInt8()).toBe(5);
  expect(() => actor.join()).toThrow('executes nothing');
  sys.close(fd);
});

test('killed while it runs: the error, how far it came, how it ended', () => {
  const actor = spawn();
  const program = new Program();
  const pid = program.syscall('getpid');
  const wait = program.wait(8, program.data(8), 1, 1, 100_000_000_000);
  actor.start(program);
  expect(errnoOf(() => actor.join(50))).toBe('ETIMEDOUT');
  actor.kill(libc.SIGKILL);
  expect(existsSync(`/proc/${actor.pid}`)).toBe(false);
  expect(errnoOf(() => actor.join())).toBe('EPIPE');
  expect(program.result(pid)).toBe(actor.pid);
  expect(program.executed).toBe(1);
  expect(program.count(wait)).toBe(1);
  expect(actor.waitExit()).toEqual({ status: null, signal: libc.SIGKILL });
  expect(errnoOf(() => actor.run(program))).toBe('EPIPE');
});

test('it may end by itself', () => {
  const actor = spawn();
  const program = new Program();
  program.syscall('exit_group', 3);
  expect(errnoOf(() => actor.run(program))).toBe('EPIPE');
  expect(actor.waitExit()).toEqual({ status: 3, signal: null });
});

test('closing ends it, also when it is busy, and leaves no fds', () => {
  const before = readdirSync('/proc/self/fd').length;
  const idle = Actor.spawn();
  const busy = Actor.spawn();
  const program = new Program();
  program.spin(100_000_000_000);
  busy.start(program);
  idle.close();
  busy.close();
  expect(existsSync(`/proc/${idle.pid}`)).toBe(false);
  expect(existsSync(`/proc/${busy.pid}`)).toBe(false);
  expect(readdirSync('/proc/self/fd').length).toBe(before);
  expect(() => idle.run(program)).toThrow('closed');
});

test('a fork within it', () => {
  const actor = spawn();
  const program = new Program();
  const data = program.data(8);
  const child = program.fork(() => program.store(32, data, 77));
  program.syscall('wait4', child, 0, 0, 0);
  actor.run(program);
  expect(data.bytes.readUInt32LE()).toBe(77);
});
