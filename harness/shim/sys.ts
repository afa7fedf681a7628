/**
 * Single system calls. Each is a program of one operation, so it is recorded as any other.
 * None throws for an error of the kernel: the result is >= 0, or -errno.
 */
import { AT_FDCWD } from '../abi/libc.ts';
import type { Arg } from './arguments.ts';
import { Program } from './program.ts';
import type { Width } from './program.ts';
import type { SyscallName } from './opcodes.ts';

/** Larger buffers get a program of their own, so that the one kept here stays small. */
const SHARED_ARENA = 64 * 1024;

let shared: Program | null = null;

function fresh(dataSize = 0): Program {
  if (dataSize > SHARED_ARENA - 64) return new Program({ ops: 1, arena: dataSize });
  shared ??= new Program({ ops: 2, arena: SHARED_ARENA });
  return shared.reset();
}

/** Of a call whose arguments are all numbers. */
function call(name: SyscallName, ...args: Arg[]): number {
  const program = fresh();
  const ref = program.syscall(name, ...args);
  return program.run().result(ref);
}

function withBuffer(
  buffer: Uint8Array,
  add: (program: Program, data: Arg) => ReturnType<Program['syscall']>,
): number {
  const program = fresh(buffer.byteLength);
  const data = program.data(buffer);
  const ref = add(program, data);
  const result = program.run().result(ref);
  buffer.set(data.bytes);
  return result;
}

export interface PollRequest {
  fd: number;
  events: number;
}

export const sys = {
  /** openat(AT_FDCWD, ...). Nothing is added to the flags (no O_CLOEXEC). */
  open(path: string, flags: number, mode = 0): number {
    const program = fresh(4 * path.length + 1);
    const ref = program.syscall('openat', AT_FDCWD, program.data(path), flags, mode);
    return program.run().result(ref);
  },

  close(fd: number): number {
    return call('close', fd);
  },

  dup(fd: number): number {
    return call('dup', fd);
  },

  /** A buffer as the argument is copied in, and copied back whatever the result. */
  ioctl(fd: number, request: number, arg: Uint8Array | number | bigint = 0): number {
    if (typeof arg !== 'object') return call('ioctl', fd, request, arg);
    return withBuffer(arg, (program, data) => program.syscall('ioctl', fd, request, data));
  },

  read(fd: number, buffer: Uint8Array): number {
    return withBuffer(buffer, (program, data) =>
      program.syscall('read', fd, data, buffer.byteLength),
    );
  },

  write(fd: number, buffer: Uint8Array): number {
    return withBuffer(buffer, (program, data) =>
      program.syscall('write', fd, data, buffer.byteLength),
    );
  },

  /** VFIO encodes the region in the upper bits of the offset: it may need to be a bigint. */
  pread(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    return withBuffer(buffer, (program, data) =>
      program.syscall('pread', fd, data, buffer.byteLength, offset),
    );
  },

  pwrite(fd: number, buffer: Uint8Array, offset: number | bigint): number {
    return withBuffer(buffer, (program, data) =>
      program.syscall('pwrite', fd, data, buffer.byteLength, offset),
    );
  },

  /** The address, or -errno as a negative bigint. */
  mmap(
    address: number | bigint,
    length: number | bigint,
    prot: number,
    flags: number,
    fd: number,
    offset: number | bigint,
  ): bigint {
    const program = fresh();
    const ref = program.syscall('mmap', address, length, prot, flags, fd, offset);
    return BigInt.asIntN(64, program.run().address(ref));
  },

  munmap(address: bigint, length: number | bigint): number {
    return call('munmap', address, length);
  },

  mprotect(address: bigint, length: number | bigint, prot: number): number {
    return call('mprotect', address, length, prot);
  },

  madvise(address: bigint, length: number | bigint, advice: number): number {
    return call('madvise', address, length, advice);
  },

  /** A new eventfd. Nothing is added to the flags (no EFD_CLOEXEC). */
  eventfd(initial = 0, flags = 0): number {
    return call('eventfd2', initial, flags);
  },

  /** result: how many are ready, 0 after the timeout (negative timeout: waits for ever). */
  poll(requests: readonly PollRequest[], timeoutMs: number): { result: number; revents: number[] } {
    const program = fresh(8 * requests.length);
    const fds = program.data(8 * requests.length);
    requests.forEach(({ fd, events }, i) => {
      fds.bytes.writeInt32LE(fd, 8 * i);
      fds.bytes.writeInt16LE(events, 8 * i + 4);
    });
    const ref = program.syscall('poll', fds, requests.length, timeoutMs);
    const result = program.run().result(ref);
    return { result, revents: requests.map((_, i) => fds.bytes.readInt16LE(8 * i + 6)) };
  },

  /** One guarded read: result 0, -EFAULT or -EIO. */
  load(width: Width, address: number | bigint): { result: number; value: bigint } {
    const program = fresh();
    const ref = program.load(width, address);
    program.run();
    return { result: program.result(ref), value: program.value(ref) };
  },

  /** One guarded write: 0, -EFAULT or -EIO. */
  store(width: Width, address: number | bigint, value: number | bigint): number {
    const program = fresh();
    const ref = program.store(width, address, value);
    return program.run().result(ref);
  },

  /** Any other system call whose arguments are numbers. */
  call,
};
