import { sys } from '../shim/index.ts';
import { Answer } from './answer.ts';

/** Any ioctl descriptor of harness/abi. */
export interface IoctlName {
  readonly name: string;
  readonly request: number;
}

/**
 * Issues an ioctl. A Buffer is passed by address and holds afterwards what the kernel wrote.
 * The fd's kind is not checked against the descriptor's: tests mix them up on purpose.
 */
export function ioctl(
  fd: number,
  descriptor: IoctlName,
  argument: Buffer | number | bigint = 0,
): Answer {
  return new Answer(descriptor.name, sys.ioctl(fd, descriptor.request, argument), undefined);
}
