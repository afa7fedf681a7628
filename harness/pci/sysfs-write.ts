import { ERRNO, KernelError, Program, sys, type Actor, type Ref } from '../shim/index.ts';
import { AT_FDCWD, O_WRONLY } from '../abi/libc.ts';
import { Answer } from '../kernel/answer.ts';
import type { PciFunction } from './topology.ts';

/** How long a write may take on a busy emulator before it counts as stuck. */
const SOON_MS = 20_000;
/** Long enough to see that something waits. */
const QUIET_MS = 50;

/** Writes to a sysfs attribute through the shim, so that the errno is known and the call recorded. */
export function tryWriteAttribute(path: string, text: string): Answer {
  const fd = sys.open(path, O_WRONLY);
  if (fd < 0) return new Answer(`open ${path}`, fd, undefined);
  const result = sys.write(fd, Buffer.from(text));
  sys.close(fd);
  return new Answer(`write '${text}' to ${path}`, result, undefined);
}

/**
 * A write to a sysfs attribute by another process: for those that block until somebody lets a
 * device go (unbind, remove, sriov_numvfs). Give it an actor that was spawned before the device was
 * opened: fixtures are undone in reverse, and the device has to be closed before the writer ends.
 */
export class BackgroundWrite {
  readonly #actor: Actor;
  readonly #program = new Program();
  readonly #open: Ref;
  readonly #write: Ref;
  readonly #path: string;
  #joined = false;

  constructor(actor: Actor, path: string, text: string) {
    this.#actor = actor;
    this.#path = path;
    const bytes = Buffer.from(text);
    this.#program.stopOnError();
    this.#open = this.#program.syscall('openat', AT_FDCWD, this.#program.data(path), O_WRONLY);
    this.#write = this.#program.syscall(
      'write',
      this.#open,
      this.#program.data(bytes),
      bytes.length,
    );
    this.#program.syscall('close', this.#open);
    actor.start(this.#program);
  }

  /** Whether the write returns within this time; asked again, it waits on. */
  endsWithin(timeoutMs: number): boolean {
    if (this.#joined) return true;
    try {
      this.#actor.join(timeoutMs);
    } catch (error) {
      if (error instanceof KernelError && error.errno === ERRNO.ETIMEDOUT) return false;
      this.#joined = true;
      throw error;
    }
    this.#joined = true;
    return true;
  }

  /** Whether the write returns. */
  ends(): boolean {
    return this.endsWithin(SOON_MS);
  }

  /** Whether the write waits for something. */
  blocks(): boolean {
    return !this.endsWithin(QUIET_MS);
  }

  /** What the write returned. */
  answer(timeoutMs = SOON_MS): Answer {
    const call = `write to ${this.#path} by another process`;
    if (!this.endsWithin(timeoutMs)) return new Answer(call, -ERRNO.ETIMEDOUT, undefined);
    const open = this.#program.result(this.#open);
    return new Answer(call, open < 0 ? open : this.#program.result(this.#write), undefined);
  }
}

/** Lets another process unbind a function from its driver. */
export function startUnbinding(writer: Actor, { path, bdf }: PciFunction): BackgroundWrite {
  return new BackgroundWrite(writer, `${path}/driver/unbind`, bdf);
}
