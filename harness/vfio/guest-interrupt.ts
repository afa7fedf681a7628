import {
  KVM_IRQFD,
  KVM_IRQFD_FLAG_DEASSIGN,
  KVM_IRQFD_FLAG_RESAMPLE,
  kvm_irqfd,
} from '../abi/kvm.ts';
import type { Program } from '../shim/index.ts';
import type { Eventfd } from './eventfd.ts';
import { ioctl } from './ioctl.ts';
import type { VirtualProcessor } from './virtual-processor.ts';

/** How often the guest leaves between two looks at its counter. */
const EXITS = 2;
/** How long a guest on a busy emulator may take to see an interrupt before it counts as lost. */
const SOON_MS = 20_000;
/** How long is waited for an interrupt that must not come. */
const QUIET_MS = 50;

/** An interrupt of a guest: what it is connected to, and how often the guest has seen it. */
export class GuestInterrupt {
  readonly #vm: number;
  readonly #processor: VirtualProcessor;
  readonly #gsi: number;
  readonly #counter: () => number;
  #taken = 0;

  constructor(vm: number, processor: VirtualProcessor, gsi: number, counter: () => number) {
    this.#vm = vm;
    this.#processor = processor;
    this.#gsi = gsi;
    this.#counter = counter;
  }

  /**
   * Lets signals on `trigger` raise the interrupt (KVM's irqfd). With `resample` it is a level: the end of
   * the interrupt in the guest takes it back and signals `resample`.
   */
  connect(trigger: Eventfd, resample?: Eventfd): void {
    this.#irqfd(trigger, resample ? KVM_IRQFD_FLAG_RESAMPLE : 0, resample?.fd);
  }

  disconnect(trigger: Eventfd): void {
    this.#irqfd(trigger, KVM_IRQFD_FLAG_DEASSIGN);
  }

  /** Adds {@link connect} without a level to a program. */
  connectIn(program: Program, trigger: Eventfd): void {
    this.#irqfdIn(program, trigger, 0);
  }

  /** Adds {@link disconnect} to a program. */
  disconnectIn(program: Program, trigger: Eventfd): void {
    this.#irqfdIn(program, trigger, KVM_IRQFD_FLAG_DEASSIGN);
  }

  /** How often the guest has seen it since the last call. The guest does not run meanwhile. */
  take(): number {
    const seen = this.#counter() - this.#taken;
    this.#taken += seen;
    return seen;
  }

  /** Runs the guest until it has seen one that must come; how many it has, 0 if it is lost. */
  soon(): number {
    return this.#run(SOON_MS);
  }

  /** Runs the guest for a short while in which none must come: 0 if none did. */
  quiet(): number {
    return this.#run(QUIET_MS);
  }

  #run(timeoutMs: number): number {
    const end = Date.now() + timeoutMs;
    let seen: number;
    do {
      this.#processor.run(EXITS);
      seen = this.take();
    } while (seen === 0 && Date.now() < end);
    return seen;
  }

  #irqfd(trigger: Eventfd, flags: number, resamplefd?: number): void {
    ioctl(this.#vm, KVM_IRQFD, this.#argument(trigger, flags, resamplefd)).must();
  }

  #irqfdIn(program: Program, trigger: Eventfd, flags: number): void {
    const argument = program.data(this.#argument(trigger, flags));
    program.syscall('ioctl', this.#vm, KVM_IRQFD.request, argument);
  }

  #argument({ fd }: Eventfd, flags: number, resamplefd = 0): Buffer {
    return kvm_irqfd.encode({ fd, gsi: this.#gsi, flags, resamplefd });
  }
}
