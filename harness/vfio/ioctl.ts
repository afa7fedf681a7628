import { sys } from '../shim/index.ts';
import { Answer } from './answer.ts';

/** Any ioctl descriptor of harness/abi. */
export interface IoctlName {
  readonly name: string;
  readonly request: number;
  /** What a positive result is: a file descriptor of this kind. */
  readonly returns?: string | undefined;
}

/** Ioctls whose result is a number of its own; of all others that return no descriptor, success is 0. */
const NUMBERS = new Set([
  'VFIO_GET_API_VERSION',
  'VFIO_CHECK_EXTENSION',
  'VFIO_EEH_PE_OP',
  // A descriptor with VFIO_DEVICE_FEATURE_DMA_BUF.
  'VFIO_DEVICE_FEATURE',
]);

/** The kernel returned something that the header does not allow. */
class UnexpectedResult extends Error {
  readonly actual: number;
  readonly expected = 0;

  constructor(call: string, result: number) {
    super(`${call} returned ${result}; success is 0, failure -1`);
    this.name = 'UnexpectedResult';
    this.actual = result;
  }
}

/**
 * Issues an ioctl. A Buffer is passed by address and holds afterwards what the kernel wrote.
 * The fd's kind is not checked against the descriptor's: tests mix them up on purpose.
 * @throws UnexpectedResult for a positive result where there is none
 */
export function ioctl(
  fd: number,
  descriptor: IoctlName,
  argument: Buffer | number | bigint = 0,
): Answer {
  const { name, request, returns } = descriptor;
  const result = sys.ioctl(fd, request, argument);
  if (result > 0 && returns === undefined && !NUMBERS.has(name)) {
    throw new UnexpectedResult(name, result);
  }
  return new Answer(name, result, undefined);
}
