import { ERRNO } from '../abi/errno.ts';
import {
  KVM_CREATE_VCPU,
  KVM_EXIT_IO,
  KVM_GET_SREGS,
  KVM_RUN,
  KVM_SET_SREGS,
  kvm_sregs,
} from '../abi/kvm.ts';
import { MAP_SHARED, PROT_READ, PROT_WRITE } from '../abi/libc.ts';
import { KernelError, Program, sys, type Ref } from '../shim/index.ts';
import { Answer } from '../kernel/answer.ts';
import { ioctl } from './ioctl.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';

/** struct kvm_run of `<linux/kvm.h>`, of which nothing else is needed: its size and `exit_reason`. */
const RUN_SIZE = 4096;
const EXIT_REASON = 8n;

/** The first processor of a virtual machine, in real mode: code from address 0 on, data up to 4 GiB. */
export class VirtualProcessor {
  readonly #fd: number;
  readonly #page: bigint;

  private constructor(fd: number, page: bigint) {
    this.#fd = fd;
    this.#page = page;
  }

  /** @throws KernelError */
  static create(vm: number): VirtualProcessor {
    const fd = ioctl(vm, KVM_CREATE_VCPU, 0).must();
    const page = sys.mmap(0n, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page < 0n) throw new KernelError(Number(page), 'mmap of a virtual processor');
    const answer = kvm_sregs.encode();
    ioctl(fd, KVM_GET_SREGS, answer).must();
    const registers = kvm_sregs.decode(answer);
    const cs = { ...registers.cs, base: 0n, selector: 0 };
    const ds = { ...registers.ds, limit: 0xffff_ffff, g: 1 };
    ioctl(fd, KVM_SET_SREGS, kvm_sregs.encode({ ...registers, cs, ds })).must();
    return new VirtualProcessor(fd, page);
  }

  /**
   * Lets the guest run until it has left for user space `exits` times; a signal ends one of them early.
   * @throws ImpossibleAnswer if it left otherwise than by an I/O port
   */
  run(exits: number): void {
    const program = new Program();
    const leaves = Array.from({ length: exits }, () => ({
      call: this.runIn(program),
      reason: program.load(32, this.#page + EXIT_REASON),
    }));
    program.run();
    for (const { call, reason } of leaves) {
      const result = program.result(call);
      if (result === -ERRNO.EINTR) continue;
      new Answer('KVM_RUN', result, undefined).must();
      const value = Number(program.value(reason));
      if (value !== KVM_EXIT_IO) {
        throw new ImpossibleAnswer('KVM_RUN', `exit reason ${KVM_EXIT_IO}`, String(value));
      }
    }
  }

  /** Adds a run until the guest leaves once. */
  runIn(program: Program): Ref {
    return program.syscall('ioctl', this.#fd, KVM_RUN.request, 0);
  }

  close(): void {
    sys.munmap(this.#page, RUN_SIZE);
    sys.close(this.#fd);
  }
}
