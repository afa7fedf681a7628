import { afterAll, beforeAll, expect, test } from 'vitest';
import * as libc from '../abi/libc.ts';
import { ERRNO } from '../abi/errno.ts';
import { sys } from './sys.ts';

let fd = -1;

beforeAll(() => {
  fd = sys.open('/tmp', 0o20000000 | libc.O_DIRECTORY | libc.O_RDWR | libc.O_CLOEXEC, 0o600);
});

afterAll(() => {
  expect(sys.close(fd)).toBe(0);
});

test('a file: written and read at offsets, small and large', () => {
  expect(fd).toBeGreaterThan(2);
  const text = Buffer.from('conformance');
  expect(sys.pwrite(fd, text, 2 ** 33)).toBe(11);
  const back = Buffer.alloc(20, 1);
  expect(sys.pread(fd, back, 2n ** 33n)).toBe(11);
  expect(back.toString('latin1', 0, 12)).toBe('conformance\x01');

  const large = Buffer.alloc(1_000_000, 'xyz');
  expect(sys.write(fd, large)).toBe(large.length);
  const again = Buffer.alloc(large.length);
  expect(sys.pread(fd, again, 0)).toBe(large.length);
  expect(again.equals(large)).toBe(true);
});

test('errors are results', () => {
  expect(sys.open('/does/not/exist', 0)).toBe(-ERRNO.ENOENT);
  expect(sys.close(-1)).toBe(-ERRNO.EBADF);
  expect(sys.mmap(0, 0, 1, 0x22, -1, 0)).toBe(BigInt(-ERRNO.EINVAL));
  expect(sys.ioctl(fd, 0xffffffff)).toBe(-ERRNO.ENOTTY);
});

test('ioctl: a buffer is copied in and out, a number is passed', () => {
  const pipe = sys.eventfd(0, libc.EFD_NONBLOCK);
  const FIONREAD = 0x541b;
  const count = Buffer.alloc(4, 0xff);
  const zero = sys.open('/proc/self/status', 0);
  expect(sys.ioctl(fd, FIONREAD, count)).toBe(0);
  expect(count.readUInt32LE()).not.toBe(0xffffffff);
  expect(sys.ioctl(fd, FIONREAD, 0)).toBe(-ERRNO.EFAULT);
  expect(sys.ioctl(fd, FIONREAD, 2n ** 63n)).toBe(-ERRNO.EFAULT);
  expect(sys.close(zero)).toBe(0);
  expect(sys.close(pipe)).toBe(0);
});

test('mappings: map, load and store, protect, advise, unmap', () => {
  const address = sys.mmap(
    0,
    8192,
    libc.PROT_READ | libc.PROT_WRITE,
    libc.MAP_PRIVATE | libc.MAP_ANONYMOUS,
    -1,
    0,
  );
  expect(address).toBeGreaterThan(0n);
  expect(sys.store(64, address, 2n ** 63n + 5n)).toBe(0);
  expect(sys.load(64, address)).toEqual({ result: 0, value: 2n ** 63n + 5n });
  expect(sys.mprotect(address, 4096, libc.PROT_READ)).toBe(0);
  expect(sys.store(8, address, 1)).toBe(-ERRNO.EFAULT);
  expect(sys.madvise(address + 4096n, 4096, libc.MADV_DONTNEED)).toBe(0);
  expect(sys.munmap(address, 8192)).toBe(0);
  expect(sys.load(8, address)).toEqual({ result: -ERRNO.EFAULT, value: 0n });
});

test('eventfd, dup and poll', () => {
  const event = sys.eventfd(3, libc.EFD_NONBLOCK);
  const copy = sys.dup(event);
  const requests = [
    { fd: event, events: libc.POLLIN },
    { fd: copy, events: libc.POLLIN },
    { fd: -1, events: libc.POLLIN },
  ];
  expect(sys.poll(requests, 0)).toEqual({ result: 2, revents: [libc.POLLIN, libc.POLLIN, 0] });
  const value = Buffer.alloc(8);
  expect(sys.read(copy, value)).toBe(8);
  expect(value.readBigUInt64LE()).toBe(3n);
  expect(sys.read(event, value)).toBe(-ERRNO.EAGAIN);
  expect(sys.poll(requests, 1).result).toBe(0);
  expect(sys.close(event)).toBe(0);
  expect(sys.close(copy)).toBe(0);
});

test('any other call by its name', () => {
  expect(sys.call('getpid')).toBe(process.pid);
  expect(sys.call('iopl', -1)).toBeLessThan(0);
});
