import { sys } from '../shim/index.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, POLLIN } from '../abi/libc.ts';
import { Answer } from './answer.ts';

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
    return sys.read(this.fd, buffer) === 8 ? Number(buffer.readBigUInt64LE()) : 0;
  }

  /** Waits for a signal and takes the counter: 0 if none came within `timeoutMs`. */
  wait(timeoutMs: number): number {
    const { result } = sys.poll([{ fd: this.fd, events: POLLIN }], timeoutMs);
    return result > 0 ? this.take() : 0;
  }

  /** Adds to the counter, as the kernel does when it signals. */
  signal(value = 1): void {
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
