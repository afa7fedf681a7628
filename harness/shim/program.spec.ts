import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as libc from '../abi/libc.ts';
import { ERRNO } from '../abi/errno.ts';
import { NOT_EXECUTED } from './block.ts';
import { Program } from './program.ts';
import { sys } from './sys.ts';

const MEMFD_FLAGS = libc.MFD_CLOEXEC;

test('operations refer to results of earlier ones, with an addend', () => {
  const program = new Program();
  const text = program.data('hello');
  const back = program.data(16);
  const fd = program.syscall('memfd_create', text, MEMFD_FLAGS);
  const written = program.syscall('pwrite', fd, text, 6, 4096);
  program.syscall('pread', fd, back.at(4), 8, written.plus(4096 - 6 - 1).plus(1n));
  const closed = program.syscall('close', fd);
  program.syscall('close', fd.plus(-1000000));
  program.run();
  expect(program.result(written)).toBe(6);
  expect(back.bytes.toString('latin1')).toBe('\0\0\0\0hello\0\0\0\0\0\0\0');
  expect(program.result(closed)).toBe(0);
  expect(program.op(4).result).toBe(BigInt(-ERRNO.EBADF));
  expect(program.op(4).args[0]).toEqual({ kind: 'reference', op: 0, addend: -1000000n });
  expect(program.executed).toBe(5);
});

test('numbers pass unharmed, negative ones and those of 64 bits', () => {
  const values = [0, 1, -1, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1];
  const large = [2n ** 63n, 2n ** 64n - 1n, 0xdeadbeefcafebaben, -(2n ** 63n), -1n, 5n];
  const program = new Program();
  const area = program.data(8 * (values.length + large.length));
  const loads = [...values, ...large].map((value, i) => {
    program.store(64, area.at(8 * i), value);
    return program.load(64, area.at(8 * i));
  });
  program.run();
  expect(loads.map((ref) => program.value(ref))).toEqual(
    [...values, ...large].map((value) => BigInt.asUintN(64, BigInt(value))),
  );
});

test('results of 64 bits come back as signed numbers and as unsigned addresses', () => {
  const program = new Program();
  const high = program.align(0x7fff_1234_5678_9001n, 4096);
  const negative = program.align(-12, 4096);
  program.run();
  expect(program.address(high)).toBe(0x7fff_1234_5678_a000n);
  expect(program.result(negative)).toBe(-12);
  expect(program.address(negative)).toBe(2n ** 64n - 12n);
});

test('arguments that cannot be meant are refused', () => {
  const program = new Program();
  const other = new Program();
  expect(() => program.syscall('close', 1.5)).toThrow(RangeError);
  expect(() => program.syscall('close', NaN)).toThrow(RangeError);
  expect(() => program.syscall('close', 2 ** 53)).toThrow(RangeError);
  expect(() => program.syscall('close', 2n ** 64n)).toThrow(RangeError);
  expect(() => program.syscall('close', other.syscall('getpid'))).toThrow(TypeError);
  expect(() => program.syscall('close', other.data(4))).toThrow(TypeError);
  expect(() => program.data(8).at(9)).toThrow(RangeError);
  expect(() => program.repeat(program.clock(), 0)).toThrow(RangeError);
});

test('a program under stopOnError() ends at the first failure', () => {
  const program = new Program();
  program.syscall('close', -1);
  program.stopOnError();
  const failing = program.syscall('close', -1);
  const never = program.syscall('getpid');
  program.run();
  expect(program.executed).toBe(2);
  expect(program.result(failing)).toBe(-ERRNO.EBADF);
  expect(program.result(never)).toBe(NOT_EXECUTED);
  expect(program.count(never)).toBe(0);
});

test('continueOnError() lets later operations fail', () => {
  const program = new Program().stopOnError();
  program.syscall('getpid');
  program.continueOnError().syscall('close', -1);
  program.stopOnError().syscall('getpid');
  expect(program.run().executed).toBe(3);
});

test.each([8, 16, 32, 64] as const)('loads and stores of %i bits touch just these', (width) => {
  const program = new Program();
  const area = program.data(Buffer.alloc(24, 0xff));
  program.store(width, area.at(8), 0x8877665544332211n);
  const load = program.load(width, area.at(8));
  program.run();
  expect(program.value(load)).toBe(BigInt.asUintN(width, 0x8877665544332211n));
  expect(area.bytes.subarray(8 + width / 8).every((byte) => byte === 0xff)).toBe(true);
});

test('faults are results: SIGSEGV -EFAULT, SIGBUS -EIO', () => {
  const program = new Program();
  const area = program.data(64);
  const fd = program.syscall('memfd_create', program.data('empty'), MEMFD_FLAGS);
  const beyond = program.syscall('mmap', 0, 4096, libc.PROT_READ, libc.MAP_SHARED, fd, 0);
  const bus = program.load(32, beyond);
  const segv = program.store(8, beyond, 1);
  const copy = program.copy(area, beyond.plus(100), 8);
  const fill = program.fill(beyond, 100, 1);
  const verify = program.verify(beyond, 100, 1);
  const wait = program.wait(8, 0, 1, 1, 1000);
  const noncanonical = program.load(64, 0xdead_0000_0000_0000n);
  program.syscall('munmap', beyond, 4096);
  const unmapped = program.load(32, beyond);
  program.syscall('close', fd);
  program.run();
  expect([bus, copy, verify].map((ref) => program.result(ref))).toEqual(Array(3).fill(-ERRNO.EIO));
  expect([segv, fill, wait, noncanonical, unmapped].map((ref) => program.result(ref))).toEqual(
    Array(5).fill(-ERRNO.EFAULT),
  );
});

/** What the compiler settings leave out, as they name no library for browsers. */
interface WebAssemblyApi {
  Module: new (code: Uint8Array) => object;
  Instance: new (module: object) => { exports: Record<string, (address: number) => number> };
  RuntimeError: new () => Error;
}

test('faults that are not ours still reach V8, which makes traps of them', () => {
  new Program().run();
  // (module (memory 1) (func (export "f") (param i32) (result i32) local.get 0 i32.load))
  const code =
    '0061736d010000000106016001' + '7f017f030201000503010001070501016600000a0901070020002802000b';
  const wasm = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
  const { exports } = new wasm.Instance(new wasm.Module(Buffer.from(code, 'hex')));
  expect(exports.f?.(0)).toBe(0);
  expect(() => exports.f?.(65536)).toThrow(wasm.RuntimeError);
});

test('what does not fit into the arena is refused, not executed', () => {
  const program = new Program();
  const area = program.data(64);
  const results = [
    program.copy(area, area.at(1), 64),
    program.fill(area, 65, 1),
    program.load(64, area.at(57)),
    program.store(16, area.at(63), 1),
  ];
  program.run();
  for (const ref of results) expect(program.result(ref)).toBe(-ERRNO.EINVAL);
});

test('patterns verify, and report the first difference', () => {
  const program = new Program();
  const area = program.data(1000);
  program.fill(area.at(3), 900, 77);
  program.copy(area.at(0), area.at(3), 900);
  const same = program.verify(area, 900, 77);
  const part = program.verify(area.at(101), 50, 77, 101);
  const other = program.verify(area, 900, 78);
  program.run();
  expect(program.result(same)).toBe(0);
  expect(program.result(part)).toBe(0);
  expect(program.result(other)).toBeGreaterThan(0);

  area.bytes.writeUInt8(area.bytes.readUInt8(500) ^ 1, 500);
  const again = new Program();
  const copy = again.data(area.bytes);
  const difference = again.verify(copy, 900, 77);
  again.run();
  expect(again.result(difference)).toBe(501);
});

test('wait sees what another thread of control stores, or times out', () => {
  const program = new Program();
  const area = program.data(8);
  const child = program.fork(() => {
    program.spin(2_000_000);
    program.store(32, area, 0x1234);
  });
  const seen = program.wait(32, area, 0xff00, 0x1200, 5_000_000_000);
  const late = program.wait(32, area, 0xff00, 0x1300, 1_000_000);
  program.syscall('wait4', child, 0, 0, 0);
  program.run();
  expect(program.result(seen)).toBe(0);
  expect(program.value(seen)).toBe(0x1234n);
  expect(program.result(late)).toBe(-ERRNO.ETIMEDOUT);
});

test('repeat counts iterations, takes samples and ends at a failure', () => {
  const program = new Program();
  const counter = program.data(8);
  const samples = program.data(8 * 20);
  const first = program.load(64, counter);
  program.store(64, counter, first.plus(1));
  const loop = program.repeat(first, 100, samples);
  const fd = program.syscall('dup', 0);
  const close = program.syscall('close', fd);
  const failing = program.repeat(close, 100);
  program.run();
  expect(counter.bytes.readBigUInt64LE()).toBe(100n);
  expect(program.count(loop)).toBe(100);
  expect(program.result(loop)).toBe(0);
  expect(program.times(loop).end).toBeGreaterThan(program.times(loop).start);
  for (let i = 0; i < 20; i++) expect(samples.bytes.readBigUInt64LE(8 * i)).toBeGreaterThan(0n);
  expect(program.result(failing)).toBe(-ERRNO.EBADF);
  expect(program.count(failing)).toBe(1);
});

test('sample keeps the times of each iteration', () => {
  const program = new Program();
  const samples = program.data(16 * 3);
  const first = program.spin(1000);
  const last = program.spin(2000);
  program.sample(first, last, samples);
  program.repeat(first, 4);
  program.run();
  const ends = [0, 1, 2].map((i) => samples.bytes.readBigUInt64LE(16 * i + 8));
  for (const [i, end] of ends.entries())
    expect(end - samples.bytes.readBigUInt64LE(16 * i)).toBeGreaterThanOrEqual(3000n);
  expect(ends).toEqual(ends.toSorted());
});

test('fork: the child executes its part, and its results are seen here', () => {
  const program = new Program();
  const status = program.data(4);
  const message = program.data(8);
  let pid = program.clock();
  const child = program.fork(() => {
    pid = program.syscall('getpid');
    program.store(64, message, 42);
    program.syscall('exit_group', 7);
    program.store(64, message, 43);
  });
  const reaped = program.syscall('wait4', child, status, 0, 0);
  program.run();
  expect(program.result(child)).toBeGreaterThan(0);
  expect(program.result(child)).not.toBe(process.pid);
  expect(program.result(pid)).toBe(program.result(child));
  expect(program.result(reaped)).toBe(program.result(child));
  expect(status.bytes.readUInt32LE()).toBe(7 << 8);
  expect(message.bytes.readBigUInt64LE()).toBe(42n);
});

test('a forked child does not run the signal handlers of Node', () => {
  let called = 0;
  const handler = (): void => void called++;
  process.on('SIGUSR2', handler);
  const program = new Program();
  const status = program.data(4);
  const child = program.fork(() => program.syscall('kill', program.syscall('getpid'), 12));
  program.syscall('wait4', child, status, 0, 0);
  program.run();
  process.off('SIGUSR2', handler);
  expect(status.bytes.readUInt32LE()).toBe(12);
  expect(called).toBe(0);
});

test('poll takes milliseconds', () => {
  const fd = sys.eventfd();
  expect(sys.poll([{ fd, events: libc.POLLIN }], 5)).toEqual({ result: 0, revents: [0] });
  const program = new Program();
  const one = program.data(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
  program.syscall('write', fd, one, 8);
  program.run();
  expect(sys.poll([{ fd, events: libc.POLLIN }], -1)).toEqual({
    result: 1,
    revents: [libc.POLLIN],
  });
  sys.close(fd);
});

test('times lie in order and within the run', () => {
  const program = new Program();
  const begin = process.hrtime.bigint();
  const first = program.clock();
  const second = program.spin(200_000);
  program.run();
  const a = program.times(first);
  const b = program.times(second);
  expect(a.start).toBeGreaterThanOrEqual(begin);
  expect(program.address(first)).toBeGreaterThanOrEqual(a.start);
  expect(b.start).toBeGreaterThanOrEqual(a.end);
  expect(b.end - b.start).toBeGreaterThanOrEqual(200_000n);
  expect(process.hrtime.bigint()).toBeGreaterThanOrEqual(b.end);
});

test('programs grow: views from before stay alive, and it can be run again', () => {
  const program = new Program();
  const early = program.data(8);
  const chunks = Array.from({ length: 50 }, () => program.data(1000));
  const large = program.data(100_000);
  chunks.forEach((chunk, i) => program.store(8, chunk.at(999), i + 1));
  for (let i = 0; i < 1000; i++) program.store(16, large.at(2 * i), i);
  const load = program.load(64, early);
  early.bytes.writeBigUInt64LE(123n);
  program.run();
  expect(program.executed).toBe(1051);
  expect(program.value(load)).toBe(123n);
  chunks.forEach((chunk, i) => expect(chunk.bytes.readUInt8(999)).toBe(i + 1));
  expect(large.bytes.readUInt16LE(1998)).toBe(999);

  early.bytes.writeBigUInt64LE(124n);
  program.store(64, early, load.plus(1));
  program.run();
  expect(early.bytes.readBigUInt64LE()).toBe(125n);
});

test('a program that was reset begins with empty data', () => {
  const program = new Program();
  program.data(Buffer.alloc(100, 1));
  program.syscall('close', -1);
  program.stopOnError();
  program.reset();
  expect(program.data(100).bytes.every((byte) => byte === 0)).toBe(true);
  program.syscall('close', -1);
  program.syscall('getpid');
  program.run();
  expect(program.executed).toBe(2);
});

test('families of system calls: memory, sockets, timers, limits, directories', () => {
  const before = readdirSync('/proc/self/fd').length;
  const program = new Program();
  const pair = program.data(8);
  const info = program.data(128);
  const limits = program.data(16);
  const message = program.data('ping');
  const answer = program.data(8);
  const time = program.data(16);
  time.bytes.writeBigUInt64LE(1000n, 8);
  program.stopOnError();
  program.syscall('socketpair', 1, 1, 0, pair);
  const left = program.load(32, pair);
  const right = program.load(32, pair.at(4));
  program.syscall('write', left, message, 5);
  program.syscall('read', right, answer, 8);
  program.syscall('close', left);
  program.syscall('close', right);
  const area = program.syscall('mmap', 0, 8192, 3, 0x22, -1, 0);
  program.syscall('mprotect', area, 8192, libc.PROT_READ);
  program.syscall('mlock', area, 4096);
  program.syscall('munlock', area, 4096);
  program.syscall('madvise', area.plus(4096), 4096, libc.MADV_DONTNEED);
  program.syscall('mincore', area, 8192, info);
  const moved = program.syscall('mremap', area, 8192, 16384, libc.MREMAP_MAYMOVE);
  program.syscall('munmap', moved, 16384);
  program.syscall('prlimit64', 0, libc.RLIMIT_NOFILE, 0, limits);
  const timer = program.syscall('timerfd_create', 1, 0);
  program.syscall('close', timer);
  program.syscall('nanosleep', time, 0);
  program.syscall('sysinfo', info);
  program.syscall('sched_yield');
  program.yield();
  const epoll = program.syscall('epoll_create1', 0);
  const copy = program.syscall('fcntl', epoll, libc.F_DUPFD, 100);
  program.syscall('close', copy);
  program.syscall('close', epoll);
  program.run();
  expect(program.executed).toBe(program.length);
  expect(program.op(program.length - 1).result).toBe(0n);
  expect(answer.bytes.toString('latin1', 0, 5)).toBe('ping\0');
  expect(program.result(copy)).toBeGreaterThanOrEqual(100);
  expect(limits.bytes.readBigUInt64LE()).toBeGreaterThan(0n);
  expect(readdirSync('/proc/self/fd').length).toBe(before);
});
