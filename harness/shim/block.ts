/**
 * The block: header, operation records, arena (native/program.h describes the same).
 * Here its numbers, and a decoder for those who read recorded blocks (trace, reproducer).
 */
import { OPCODES } from './opcodes.ts';
import type { OpName } from './opcodes.ts';

export const BLOCK_MAGIC = 0x56434231;
export const HEADER_SIZE = 64;
export const OP_SIZE = 96;
const MAX_ARGUMENTS = 6;
/** References carry the index of an operation in 16 bits. */
export const MAX_OPS = 0x10000;

/** Header fields, in units of 32 bits. */
export const HEADER = {
  magic: 0,
  opCount: 1,
  arenaOffset: 2,
  arenaSize: 3,
  flags: 4,
  executed: 5,
} as const;

/** Record fields in units of 32 bits (kinds) or 64 bits (all others) from the record's start. */
export const OP_KINDS_32 = 1;
export const OP = { args: 1, result: 7, value: 8, start: 9, end: 10, count: 11 } as const;

/** Kinds of arguments beside 0, an immediate one. */
export const KIND_ARENA = 1;
export const KIND_REFERENCE = 2;

export const FLAG_STOP = 1;
export const FLAG_NO_START = 2;
export const FLAG_NO_END = 4;

/** The result of an operation that was never reached: -ECANCELED. */
export const NOT_EXECUTED = -125;

export type DecodedArg =
  | { kind: 'immediate'; value: bigint }
  | { kind: 'arena'; offset: number }
  | { kind: 'reference'; op: number; addend: bigint };

export interface DecodedOp {
  name: OpName;
  /** A negative result ended the program. */
  stop: boolean;
  /** All six; those an operation does not use are immediate 0. */
  args: DecodedArg[];
  /** >= 0 or -errno; -ECANCELED if never reached. */
  result: bigint;
  /** What a load read. */
  value: bigint;
  /** CLOCK_MONOTONIC in ns, of the last execution. */
  start: bigint;
  end: bigint;
  /** How often it was executed; 0 if never. */
  count: bigint;
}

export interface DecodedBlock {
  ops: DecodedOp[];
  /** Operations passed when the program ended. */
  executed: number;
  /** A view, not a copy. */
  arena: Buffer;
}

function decodeArg(kind: number, raw: bigint): DecodedArg {
  if (kind === KIND_ARENA) return { kind: 'arena', offset: Number(raw) };
  if (kind === KIND_REFERENCE) {
    return { kind: 'reference', op: Number(raw & 0xffffn), addend: BigInt.asIntN(64, raw) >> 16n };
  }
  return { kind: 'immediate', value: raw };
}

/** Decodes the record at `offset` bytes. */
export function decodeOp(block: Buffer, offset: number): DecodedOp {
  const kinds = block.readUInt32LE(offset + 4 * OP_KINDS_32);
  const u64 = (field: number): bigint => block.readBigUInt64LE(offset + 8 * field);
  const name = OPCODES[block.readUInt16LE(offset)];
  if (name === undefined) throw new RangeError(`no opcode ${block.readUInt16LE(offset)}`);
  return {
    name,
    stop: (block.readUInt16LE(offset + 2) & FLAG_STOP) !== 0,
    args: Array.from({ length: MAX_ARGUMENTS }, (_, i) =>
      decodeArg((kinds >>> (4 * i)) & 15, u64(OP.args + i)),
    ),
    result: BigInt.asIntN(64, u64(OP.result)),
    value: u64(OP.value),
    start: u64(OP.start),
    end: u64(OP.end),
    count: u64(OP.count),
  };
}

/** Decodes a whole block, as the recorder hands it out. Throws RangeError if it is malformed. */
export function decodeBlock(block: Buffer): DecodedBlock {
  const header = (field: keyof typeof HEADER): number => block.readUInt32LE(4 * HEADER[field]);
  if (header('magic') !== BLOCK_MAGIC) throw new RangeError('not a block: wrong magic');
  const arenaOffset = header('arenaOffset');
  return {
    ops: Array.from({ length: header('opCount') }, (_, i) =>
      decodeOp(block, HEADER_SIZE + i * OP_SIZE),
    ),
    executed: header('executed'),
    arena: block.subarray(arenaOffset, arenaOffset + header('arenaSize')),
  };
}
