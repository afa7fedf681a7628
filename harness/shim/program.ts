import { Ref, type Arg, type Data } from './arguments.ts';
import { FLAG_NO_END, FLAG_NO_START, FLAG_STOP } from './block.ts';
import { afterRun, beforeRun } from './observer.ts';
import type { OpName, SyscallName } from './opcodes.ts';
import { ProgramMemory } from './program-memory.ts';

/** Bytes of one sample: struct vc_sample of native/program.h. */
export const SAMPLE_SIZE = 16;

export type Width = 8 | 16 | 32 | 64;

/**
 * A sequence of operations which is executed in C with one call: system calls, guarded memory
 * accesses, loops, forks. Arguments may refer to results of earlier operations.
 *
 * A program may be run more than once; each run executes all of it again.
 */
export class Program extends ProgramMemory {
  #flags = 0;

  /** The operation added last. @throws RangeError if there is none */
  get lastOperation(): Ref {
    if (this.length === 0) throw new RangeError('the program is empty');
    return new Ref(this, this.length - 1);
  }

  override reset(): this {
    this.#flags = 0;
    return super.reset();
  }

  /** All operations added from now on end the program if their result is negative. */
  stopOnError(): this {
    this.#flags |= FLAG_STOP;
    return this;
  }

  /** Operations added from now on are not timed: reading the clock twice costs as much as a short call. */
  untimed(): this {
    this.#flags |= FLAG_NO_START | FLAG_NO_END;
    return this;
  }

  /** Ends stopOnError(): operations added from now on may fail, and the program goes on. */
  continueOnError(): this {
    this.#flags &= ~FLAG_STOP;
    return this;
  }

  syscall(name: SyscallName, a: Arg = 0, b: Arg = 0, c: Arg = 0, d?: Arg, e?: Arg, f?: Arg): Ref {
    return this.#operation(name, a, b, c, d, e, f);
  }

  /** One guarded read of exactly this width. Result 0, -EFAULT (SIGSEGV) or -EIO (SIGBUS). */
  load(width: Width, address: Arg): Ref {
    return this.#operation('load', width, address);
  }

  /** One guarded write of exactly this width; results as for load(). */
  store(width: Width, address: Arg, value: Arg): Ref {
    return this.#operation('store', width, address, value);
  }

  /** Copies bytes; guarded, results as for load(). After a fault a part may have been copied. */
  copy(destination: Arg, source: Arg, length: Arg): Ref {
    return this.#operation('copy', destination, source, length);
  }

  /**
   * Fills memory with the pattern that belongs to `seed`, from byte `phase` of the pattern on.
   * Guarded, results as for load().
   */
  fill(address: Arg, length: Arg, seed: Arg, phase: Arg = 0): Ref {
    return this.#operation('fill', address, length, seed, phase);
  }

  /** Compares memory with what fill() writes: 0, or 1 + the offset of the first difference. */
  verify(address: Arg, length: Arg, seed: Arg, phase: Arg = 0): Ref {
    return this.#operation('verify', address, length, seed, phase);
  }

  /**
   * Waits until (load & mask) == value, spinning for 50 us and then looking every 20 us: 0, or -ETIMEDOUT; -EFAULT and -EIO as for load().
   * value(ref) is what was read last.
   */
  wait(width: Width, address: Arg, mask: Arg, value: Arg, timeoutNs: Arg): Ref {
    return this.#operation('wait', width, address, mask, value, timeoutNs);
  }

  /**
   * Executes the operations from `from` up to here `count` times in all, or until the first
   * negative result, which then is the result of this operation too. count(ref) is the number of
   * complete iterations, times(ref) spans all of them.
   * @param samples receives the duration of each iteration in ns as u64, as many as fit
   */
  repeat(from: Ref, count: number, samples?: Data): Ref {
    if (from.program !== this) throw new TypeError('a reference to another program');
    if (!(count >= 1)) throw new RangeError(`repeat ${count} times`);
    return samples === undefined
      ? this.#operation('repeat', from.index, count)
      : this.#operation('repeat', from.index, count, samples, Math.floor(samples.length / 8));
  }

  /**
   * Keeps when operation `first` began and `last` ended, as of their last execution: in a loop, of
   * each iteration.
   * @param samples receives pairs of start and end, CLOCK_MONOTONIC in ns as u64, as many as fit
   */
  sample(first: Ref, last: Ref, samples: Data): Ref {
    if (first.program !== this || last.program !== this)
      throw new TypeError('a reference to another program');
    return this.#operation(
      'sample',
      first.index,
      last.index,
      samples,
      Math.floor(samples.length / SAMPLE_SIZE),
    );
  }

  /**
   * Times the operations from `first` to `last` as one: only the begin of the first and the end of the
   * last read the clock, which costs time too.
   */
  timeAsOne(first: Ref, last: Ref): this {
    for (let index = first.index; index <= last.index; index++) {
      const flags =
        (index > first.index ? FLAG_NO_START : 0) | (index < last.index ? FLAG_NO_END : 0);
      this.addFlags(index, flags);
    }
    return this;
  }

  /**
   * A child process executes what `body` adds, and then ends: with exit status 0, or 1 if an
   * operation under stopOnError() failed. The result is its pid; whoever needs its end uses wait4.
   * The whole block is shared with the child while the program runs here, so results of
   * operations in the body can be read afterwards (if the child was waited for).
   */
  fork(body: () => void): Ref {
    const fork = this.#operation('fork');
    body();
    this.setFirstArgument(fork.index, this.length - fork.index - 1);
    return fork;
  }

  /**
   * Many ioctls of one file: each element of the list is a request (u64) and 80 bytes of argument, of
   * which `length` are copied to `address` before the call. Ends at the first errno above `greatest`,
   * which then is the result; otherwise 0, whatever the calls return. value(ref) is the number of the last.
   */
  ioctls(fd: Arg, list: Arg, count: number, address: Arg, length: number, greatest: number): Ref {
    return this.#operation('ioctls', fd, list, count, address, length, greatest);
  }

  /** Keeps the processor busy for this long. */
  spin(ns: Arg): Ref {
    return this.#operation('spin', ns);
  }

  /** The processor's hint for spin loops (PAUSE, YIELD). */
  yield(): Ref {
    return this.#operation('yield');
  }

  /** CLOCK_MONOTONIC in ns, as the result. */
  clock(): Ref {
    return this.#operation('clock');
  }

  /** `value` rounded up to a multiple of `alignment` (a power of two); -errno is passed through. */
  align(value: Arg, alignment: Arg): Ref {
    return this.#operation('align', value, alignment);
  }

  #operation(name: OpName, a?: Arg, b?: Arg, c?: Arg, d?: Arg, e?: Arg, f?: Arg): Ref {
    return this.add(this.#flags, name, a, b, c, d, e, f);
  }

  /** Executes the program in this process and thread. */
  run(): this {
    const before = beforeRun(this);
    this.execute();
    afterRun(this, 'here', before);
    return this;
  }
}
