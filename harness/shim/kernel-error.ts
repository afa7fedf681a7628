import { errnoMessage, errnoName } from '../abi/errno.ts';

/** A system call that had to succeed and did not. */
export class KernelError extends Error {
  /** Positive. */
  readonly errno: number;
  /** EBUSY, or a plain number for an errno that has no name. */
  readonly errnoName: string;

  /**
   * @param errno positive or negative (as the kernel returns it)
   * @param what what was tried: the message begins with it
   */
  constructor(errno: number, what: string) {
    const number = Math.abs(errno);
    const name = errnoName(number);
    super(`${what}: ${name} (${errnoMessage(number)})`);
    this.name = 'KernelError';
    this.errno = number;
    this.errnoName = name;
  }
}
