import * as libc from '../abi/libc.ts';
import { ERRNO } from '../abi/errno.ts';
import { KernelError } from './kernel-error.ts';
import { actorPath, callWithBuffer, callWithBuffers, check } from './library.ts';
import { afterRun, beforeRun } from './observer.ts';
import type { Program } from './program.ts';

const DEFAULT_TIMEOUT_MS = 60_000;
const CLOSE_TIMEOUT_MS = 5_000;

/** native/actor.h: offsets in struct vc_actor. */
const ACTOR_SIZE = 56;
const ACTOR = { pid: 0, exited: 20, status: 24, timeoutNs: 40, blockLength: 48 } as const;

/** native/actor.h: struct vc_actor_request. */
const REQUEST_SIZE = 32;
const REQUEST = {
  length: 0,
  flags: 4,
  uid: 8,
  gid: 12,
  rlimits: 16,
  fds: 20,
  failedStep: 24,
} as const;
const SET_UID = 1;
const SET_GID = 2;
const DROP_CAPABILITIES = 4;

/** enum vc_actor_step. */
const STEPS = [
  '?',
  'prepare',
  'keep fds',
  'set resource limits',
  'set gid',
  'set uid',
  'drop capabilities',
  'execveat',
];

/** Resource limits by their name. */
const RLIMITS = {
  RLIMIT_CPU: libc.RLIMIT_CPU,
  RLIMIT_FSIZE: libc.RLIMIT_FSIZE,
  RLIMIT_DATA: libc.RLIMIT_DATA,
  RLIMIT_STACK: libc.RLIMIT_STACK,
  RLIMIT_CORE: libc.RLIMIT_CORE,
  RLIMIT_NPROC: libc.RLIMIT_NPROC,
  RLIMIT_NOFILE: libc.RLIMIT_NOFILE,
  RLIMIT_MEMLOCK: libc.RLIMIT_MEMLOCK,
  RLIMIT_AS: libc.RLIMIT_AS,
} as const;

export type RlimitName = keyof typeof RLIMITS;

export interface ActorOptions {
  /** Become this user; without `dropCaps` too, another user than root has no capabilities. */
  uid?: number;
  /** Become a member of this group alone. */
  gid?: number;
  /** Give up all capabilities (also as root). */
  dropCaps?: boolean;
  /** Fds of this process which the actor keeps, under the same numbers. It gets no others. */
  inheritFds?: readonly number[];
  /** Soft and hard limit. In the kernel's units (RLIMIT_MEMLOCK: bytes); Infinity: no limit. */
  rlimits?: Partial<Record<RlimitName, number | bigint>>;
}

/** How an actor ended: by an exit status, or by a signal. */
export interface ActorExit {
  status: number | null;
  signal: number | null;
}

function encodeRequest(options: ActorOptions): Buffer {
  const rlimits = Object.entries(options.rlimits ?? {}) as [RlimitName, number | bigint][];
  const fds = options.inheritFds ?? [];
  const path = Buffer.from(`${actorPath()}\0`);
  const length = REQUEST_SIZE + 16 * rlimits.length + 4 * fds.length + path.byteLength;
  const request = Buffer.alloc(length);

  const flags =
    (options.uid === undefined ? 0 : SET_UID) |
    (options.gid === undefined ? 0 : SET_GID) |
    (options.dropCaps === true ? DROP_CAPABILITIES : 0);
  request.writeUInt32LE(length, REQUEST.length);
  request.writeUInt32LE(flags, REQUEST.flags);
  request.writeUInt32LE(options.uid ?? 0, REQUEST.uid);
  request.writeUInt32LE(options.gid ?? 0, REQUEST.gid);
  request.writeUInt32LE(rlimits.length, REQUEST.rlimits);
  request.writeUInt32LE(fds.length, REQUEST.fds);

  let position = REQUEST_SIZE;
  for (const [name, value] of rlimits) {
    const limit = value === Infinity ? libc.RLIM_INFINITY : BigInt(value);
    request.writeBigUInt64LE(BigInt(RLIMITS[name]), position);
    request.writeBigUInt64LE(limit, position + 8);
    position += 16;
  }
  for (const fd of fds) position = request.writeInt32LE(fd, position);
  path.copy(request, position);
  return request;
}

/**
 * Another process that executes programs: under another user, with other limits, or to be killed.
 * It lives until close(), and dies with this process.
 */
export class Actor {
  /** struct vc_actor */
  readonly #actor: Buffer;
  #running: { program: Program; block: Buffer; before: Buffer | null } | null = null;
  #closed = false;

  private constructor(actor: Buffer) {
    this.#actor = actor;
  }

  /** Throws KernelError, which names the step that failed: EPERM for a limit raised, EBADF, ... */
  static spawn(options: ActorOptions = {}): Actor {
    const actor = Buffer.alloc(ACTOR_SIZE);
    const request = encodeRequest(options);
    const result = callWithBuffers('vc_actor_spawn', actor, request);
    if (result < 0) {
      const step = STEPS[request.readUInt32LE(REQUEST.failedStep)] ?? '?';
      throw new KernelError(result, `start of an actor: ${step}`);
    }
    return new Actor(actor);
  }

  get pid(): number {
    return this.#actor.readInt32LE(ACTOR.pid);
  }

  /** Executes a program there, and waits for its end. Errors as of start() and join(). */
  run(program: Program, timeoutMs = DEFAULT_TIMEOUT_MS): void {
    this.start(program);
    this.join(timeoutMs);
  }

  /** Begins to execute a program there. Throws KernelError EPIPE if the actor has ended. */
  start(program: Program): void {
    this.#mustBeOpen();
    if (this.#running !== null) throw new Error(`process ${this.pid} is busy: join() first`);
    const before = beforeRun(program);
    const block = Buffer.allocUnsafeSlow(program.blockSize);
    program.writeBlock(block);
    this.#actor.writeBigUInt64LE(BigInt(block.byteLength), ACTOR.blockLength);
    check(callWithBuffers('vc_actor_start', this.#actor, block), `process ${this.pid}`);
    this.#running = { program, block, before };
  }

  /**
   * Waits for the end of the program and takes over its results.
   * Throws KernelError ETIMEDOUT (it still runs: join() again, or kill()), or EPIPE if the process
   * ended meanwhile; the program's results then show how far it came.
   */
  join(timeoutMs = DEFAULT_TIMEOUT_MS): void {
    this.#mustBeOpen();
    if (this.#running === null) throw new Error(`process ${this.pid} executes nothing`);
    const { program, block, before } = this.#running;
    this.#setTimeout(timeoutMs);
    const result = callWithBuffers('vc_actor_join', this.#actor, block);
    if (result === -ERRNO.ETIMEDOUT) {
      throw new KernelError(result, `process ${this.pid}, after ${timeoutMs} ms`);
    }
    this.#running = null;
    program.readBlock(block);
    afterRun(program, `process ${this.pid}`, before);
    check(result, `process ${this.pid}`);
  }

  /**
   * Sends a signal (number). After SIGKILL it also waits until the process is gone, and with it
   * its fds and memory. Throws KernelError ESRCH if it had ended and was waited for.
   */
  kill(signal: number): void {
    this.#mustBeOpen();
    check(callWithBuffer('vc_actor_kill', this.#actor, signal), `signal to process ${this.pid}`);
    if (signal === libc.SIGKILL) this.waitExit();
  }

  /** Waits until the process has ended. Throws KernelError ETIMEDOUT. */
  waitExit(timeoutMs = DEFAULT_TIMEOUT_MS): ActorExit {
    if (this.#actor.readInt32LE(ACTOR.exited) === 0) {
      this.#mustBeOpen();
      this.#setTimeout(timeoutMs);
      check(callWithBuffer('vc_actor_wait', this.#actor, 0), `end of process ${this.pid}`);
    }
    const status = this.#actor.readInt32LE(ACTOR.status);
    const signal = status & 0x7f;
    return signal === 0 ? { status: (status >> 8) & 0xff, signal: null } : { status: null, signal };
  }

  /** Ends the process (kills it if it is still busy) and waits for it. A second call is nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#setTimeout(CLOSE_TIMEOUT_MS);
    if (this.#running !== null) {
      this.#running = null;
      callWithBuffer('vc_actor_kill', this.#actor, libc.SIGKILL);
    }
    check(callWithBuffer('vc_actor_close', this.#actor, 0), `end of process ${this.pid}`);
  }

  #setTimeout(timeoutMs: number): void {
    this.#actor.writeBigUInt64LE(BigInt(Math.round(timeoutMs * 1e6)), ACTOR.timeoutNs);
  }

  #mustBeOpen(): void {
    if (this.#closed) throw new Error(`process ${this.pid} was closed`);
  }
}
