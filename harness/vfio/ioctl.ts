import { sys } from '../shim/index.ts';
import { errnoName, isInternalErrno } from '../abi/errno.ts';
import { Answer } from '../kernel/answer.ts';
import { answerRule } from './answer-rules.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';

/** Any ioctl descriptor of harness/abi. */
export interface IoctlName {
  readonly name: string;
  readonly request: number;
  /** What a positive result is: a file descriptor of this kind, or a number. */
  readonly returns?: string | undefined;
}

/** Ioctls whose result is a number of its own; of all others that return no descriptor, success is 0. */
const NUMBERS = new Set([
  'VFIO_GET_API_VERSION',
  'VFIO_CHECK_EXTENSION',
  'VFIO_EEH_PE_OP',
  'KVM_SIGNAL_MSI',
]);

/**
 * What the kernel answered to an ioctl, also as part of a program. Here all answers pass that are looked
 * at one by one: whatever the header promises of each of them is checked here, in every test.
 * @throws ImpossibleAnswer if the header does not allow it
 */
export function answerTo({ name, returns }: IoctlName, result: number): Answer {
  if (result > 0 && returns === undefined && !NUMBERS.has(name)) {
    throw new ImpossibleAnswer(name, '0 for success, -1 for failure', String(result));
  }
  if (isInternalErrno(-result)) {
    throw new ImpossibleAnswer(name, 'an errno for user space', errnoName(-result));
  }
  return new Answer(name, result, undefined);
}

/**
 * Issues an ioctl. A Buffer is passed by address and holds afterwards what the kernel wrote.
 * The fd's kind is not checked against the descriptor's: tests mix them up on purpose.
 * @throws ImpossibleAnswer if the header does not allow the answer
 */
export function ioctl(
  fd: number,
  descriptor: IoctlName,
  argument: Buffer | number | bigint = 0,
): Answer {
  const rule = typeof argument === 'object' ? answerRule(descriptor.name) : undefined;
  const asked = rule && Buffer.from(argument as Buffer);
  const answer = answerTo(descriptor, sys.ioctl(fd, descriptor.request, argument));
  if (rule && answer.ok) rule(asked!, argument as Buffer);
  return answer;
}
