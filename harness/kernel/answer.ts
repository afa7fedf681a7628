import { KernelError } from '../shim/index.ts';
import { errnoName } from '../abi/errno.ts';

/** What the kernel answered to one call. `tryX()` methods return it, `X()` methods throw on failure. */
export class Answer<T = undefined> {
  /** The call in words, for messages: `VFIO_IOMMU_MAP_DMA`. */
  readonly call: string;
  /** The return value, or -errno. */
  readonly result: number;
  /** What the kernel wrote back, as far as the call has such; filled in on failure too. */
  readonly value: T;

  constructor(call: string, result: number, value: T) {
    this.call = call;
    this.result = result;
    this.value = value;
  }

  get ok(): boolean {
    return this.result >= 0;
  }

  /** `EEXIST`, or null on success. */
  get errno(): string | null {
    return this.ok ? null : errnoName(-this.result);
  }

  /** The value. @throws KernelError if the kernel refused. */
  get(): T {
    this.must();
    return this.value;
  }

  /** The return value. @throws KernelError if the kernel refused. */
  must(): number {
    if (!this.ok) throw new KernelError(this.result, this.call);
    return this.result;
  }

  /** The same answer with a value of the caller's. */
  with<U>(value: U): Answer<U> {
    return new Answer(this.call, this.result, value);
  }

  toString(): string {
    return `${this.call} = ${this.ok ? this.result : `-1 ${this.errno}`}`;
  }
}
