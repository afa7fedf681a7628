import { readFileSync } from 'node:fs';
import { sys } from '../shim/index.ts';
import { ERRNO } from '../abi/errno.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, POLLIN } from '../abi/libc.ts';
import { Answer } from '../kernel/answer.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';

/** How long a signal may take on a busy emulator before it counts as lost. */
const SOON_MS = 10_000;
/** How long is waited for a signal that must not come. */
const QUIET_MS = 50;

/** An eventfd (man 2 eventfd), non-blocking unless told otherwise. */
export class Eventfd {
  readonly fd: number;
  #open = true;

  /** @param flags EFD_*; @param initial the counter's first value. */
  constructor({ flags = EFD_CLOEXEC | EFD_NONBLOCK, initial = 0 } = {}) {
    this.fd = new Answer('eventfd2', sys.eventfd(initial, flags), undefined).must();
  }

  /** Takes the counter: its value, or 0 if nothing was signalled since the last call. */
  take(): number {
    const buffer = Buffer.alloc(8);
    const result = sys.read(this.fd, buffer);
    if (result === -ERRNO.EAGAIN) return 0;
    if (new Answer('read of an eventfd', result, undefined).must() !== buffer.length) {
      throw new ImpossibleAnswer('read of an eventfd', '8 bytes', String(result));
    }
    return Number(buffer.readBigUInt64LE());
  }

  /** Waits for a signal and takes the counter: 0 if none came within `timeoutMs`. */
  wait(timeoutMs: number): number {
    const { result } = sys.poll([{ fd: this.fd, events: POLLIN }], timeoutMs);
    return result > 0 ? this.take() : 0;
  }

  /** The counter once a signal that must come has come; 0 if it is lost. */
  soon(): number {
    return this.wait(SOON_MS);
  }

  /** The counter after a short while in which no signal must come: 0 if none did. */
  quiet(): number {
    return this.wait(QUIET_MS);
  }

  /** What poll() reports at once of `events`. */
  poll(events = POLLIN): number {
    return sys.poll([{ fd: this.fd, events }], 0).revents[0] ?? 0;
  }

  /**
   * The kernel's number for it: the lowest free one when it was made. A number that comes back
   * after close() shows that nobody holds the eventfd any more.
   */
  get id(): number {
    const text = readFileSync(`/proc/self/fdinfo/${this.fd}`, 'utf8');
    return Number(/^eventfd-id:\s*(\d+)$/m.exec(text)?.[1] ?? NaN);
  }

  /** Adds to the counter, as the kernel does when it signals. */
  signal(value: number | bigint = 1): void {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64LE(BigInt(value));
    new Answer('write to an eventfd', sys.write(this.fd, buffer), undefined).must();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    sys.close(this.fd);
  }
}
