/**
 * Follows a recorded program: which file descriptors, mappings and children exist at each moment,
 * what they are, and which call they came from.
 */
import type { Ioctl } from '../abi/ioctl.ts';
import { reached, signed, valueOf, type Call } from './call.ts';
import { applyEffect, resultOrigin } from './effects.ts';
import { ProcessState, type Mapping, type OpenFd, type Origin } from './process-state.ts';

export class Tracker {
  readonly #processes = new Map<string, ProcessState>();
  /** Results of fork, by pid. */
  readonly children = new Map<number, Origin>();

  #state(process: string): ProcessState {
    let state = this.#processes.get(process);
    if (!state) {
      // A process that we have not seen yet began with what its parent had.
      state = new ProcessState(process === 'here' ? undefined : this.#state('here'));
      this.#processes.set(process, state);
    }
    return state;
  }

  fd(process: string, number: number): OpenFd | undefined {
    return this.#state(process).fds.get(number);
  }

  /** All open fds of a process. */
  fds(process: string): ReadonlyMap<number, OpenFd> {
    return this.#state(process).fds;
  }

  mapping(process: string, address: bigint): Mapping | undefined {
    return this.#state(process).mapping(address);
  }

  /** What was last known under this number, if it is closed now. */
  closedFd(process: string, number: number): OpenFd | undefined {
    return this.#state(process).closed.get(number);
  }

  /** The mapping that was last at this address, if there is none now. */
  formerMapping(process: string, address: bigint): Mapping | undefined {
    return this.#state(process).formerMapping(address);
  }

  /** The ioctl that a call makes, if the fd is known and the number fits it. */
  ioctlOf(call: Call): Ioctl | undefined {
    return this.#state(call.process).ioctlOf(call);
  }

  /** Lets a process that was not seen yet begin with what another tracker knows of the first one. */
  begin(process: string, from: Tracker): void {
    this.#processes.set(process, new ProcessState(from.#state('here')));
  }

  /** A copy that later calls do not change. */
  snapshot(): Tracker {
    const copy = new Tracker();
    for (const [name, state] of this.#processes) copy.#processes.set(name, new ProcessState(state));
    for (const [pid, origin] of this.children) copy.children.set(pid, origin);
    return copy;
  }

  /** Takes over what a call did. */
  apply(call: Call): void {
    if (!reached(call)) return;
    const state = this.#state(call.process);
    if (call.op.name === 'fork') this.#fork(call, state);
    // It gives the number free whatever it returns, but for EBADF.
    else if (call.op.name === 'close') state.close(signed(valueOf(call, 0)));
    else if (call.op.result >= 0n) applyEffect(call, state);
  }

  #fork(call: Call, state: ProcessState): void {
    const pid = Number(call.op.result);
    if (pid <= 0) return;
    this.children.set(pid, resultOrigin(call));
    this.#processes.set(`child ${pid}`, new ProcessState(state));
  }
}
