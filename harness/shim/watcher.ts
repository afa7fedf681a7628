import { ERRNO } from '../abi/errno.ts';
import { callWithBuffer, check } from './library.ts';

/** native/watcher.h: struct vc_watch and struct vc_watch_wait. */
const WATCH_SIZE = 40;
const WAIT_SIZE = 24;

/** What has arrived on one eventfd. */
export interface Arrivals {
  /** The sum of all counter values read. */
  sum: bigint;
  /** How many reads that took: fewer than `sum` if signals came faster than they were read. */
  arrivals: bigint;
  /** CLOCK_MONOTONIC in ns of the first and of the last read; 0 if there was none. */
  first: bigint;
  last: bigint;
}

/**
 * Counts what arrives on eventfds, in a thread of its own that reads them the moment they become
 * readable. While it lives nobody else should read them. The fds themselves stay with the caller;
 * the watcher holds duplicates until close().
 */
export class EventfdWatcher {
  readonly #watches: Buffer;
  readonly #count: number;
  #handle: number;

  /** Throws KernelError: EBADF, or EPERM for a file that cannot be polled. */
  constructor(fds: readonly number[]) {
    this.#watches = Buffer.alloc(Math.max(1, fds.length) * WATCH_SIZE);
    fds.forEach((fd, i) => this.#watches.writeInt32LE(fd, i * WATCH_SIZE));
    this.#handle = check(
      callWithBuffer('vc_watcher_open', this.#watches, fds.length),
      'watch eventfds',
    );
    this.#count = fds.length;
  }

  /** Everything known about each eventfd, in the order of the constructor. */
  arrivals(): Arrivals[] {
    if (this.#handle >= 0) {
      check(callWithBuffer('vc_watcher_read', this.#watches, this.#handle), 'read a watcher');
    }
    return Array.from({ length: this.#count }, (_, i) => {
      const u64 = (offset: number): bigint =>
        this.#watches.readBigUInt64LE(i * WATCH_SIZE + offset);
      return { sum: u64(8), arrivals: u64(16), first: u64(24), last: u64(32) };
    });
  }

  /** The sums alone; after close() the final ones. */
  counts(): bigint[] {
    return this.arrivals().map(({ sum }) => sum);
  }

  /** Blocks until the sum of eventfd `index` is `atLeast`: true, or false after the timeout. */
  wait(index: number, atLeast: number | bigint, timeoutMs: number): boolean {
    if (this.#handle < 0) throw new Error('the watcher is closed');
    const wait = Buffer.alloc(WAIT_SIZE);
    wait.writeUInt32LE(index, 0);
    wait.writeBigUInt64LE(BigInt(atLeast), 8);
    wait.writeBigUInt64LE(BigInt(Math.round(timeoutMs * 1e6)), 16);
    const result = callWithBuffer('vc_watcher_wait', wait, this.#handle);
    if (result === -ERRNO.ETIMEDOUT) return false;
    check(result, `wait for eventfd ${index} of the watcher`);
    return true;
  }

  /** Ends the thread. A second call does nothing. */
  close(): void {
    if (this.#handle < 0) return;
    check(callWithBuffer('vc_watcher_close', this.#watches, this.#handle), 'close a watcher');
    this.#handle = -1;
  }
}
