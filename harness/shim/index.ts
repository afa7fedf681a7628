/** System calls as data, executed in C: the only way from this project into the kernel. */
export { Data, Pointer, Ref } from './arguments.ts';
export type { Arg } from './arguments.ts';
export { decodeBlock, decodeOp, NOT_EXECUTED } from './block.ts';
export type { DecodedArg, DecodedBlock, DecodedOp } from './block.ts';
export { DmaMemory } from './dma-memory.ts';
export type { DmaMemoryOptions, MemoryKind } from './dma-memory.ts';
export { KernelError } from './kernel-error.ts';
export { setLiar } from './liar.ts';
export type { Answer, Liar } from './liar.ts';
export { HARNESS_OPS, OPCODES, SYSCALLS } from './opcodes.ts';
export type { OpName, SyscallName } from './opcodes.ts';
export { Program } from './program.ts';
export type { Width } from './program.ts';
export { recorder } from './recorder.ts';
export type { RecordedRun } from './recorder.ts';
export { sys } from './sys.ts';
export type { PollRequest } from './sys.ts';
export { errnoMessage, errnoName, ERRNO } from '../abi/errno.ts';
