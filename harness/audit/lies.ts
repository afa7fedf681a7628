import { VFIO_GROUP_GET_DEVICE_FD } from '../abi/vfio.ts';
import {
  decodeBlock,
  errnoName,
  type DecodedArg,
  type DecodedOp,
  type ProgramMemory,
  type RecordedRun,
} from '../shim/index.ts';
import { meaningsOf } from '../trace/index.ts';

/** One false answer: where it is told, what is false, how it is told. */
export interface Lie {
  /** Number of the run within the test, and of the operation within the run. */
  run: number;
  op: number;
  /** For people: `VFIO_IOMMU_MAP_DMA: result 0 told as EINVAL`. */
  text: string;
  /** Whether an operation is the one that was recorded: a test that waits makes more calls one time than another. */
  fits(op: DecodedOp): boolean;
  tell(program: ProgramMemory): void;
}

const EINVAL = 22n;
const ENOTTY = 25n;
const EFAULT = 14n;
/** What the kernel wrote into memory is falsified word by word, the first few of a call only. */
const MAX_WORDS = 8;

/** What can be told wrongly about the answers that a test received, in their order. */
export function liesAbout(runs: readonly RecordedRun[]): Lie[] {
  return runs.flatMap((recorded) => {
    const { ops, arena } = decodeBlock(recorded.block);
    const own = ownWords(ops);
    return ops.flatMap((op, index) =>
      op.count === 0n
        ? []
        : liesAboutOp({ op, index, before: recorded.arenaBefore, after: arena, own }).map(
            (lie) => ({
              ...lie,
              run: recorded.run,
              op: index,
              fits: ({ name, result, args }: DecodedOp) =>
                name === op.name &&
                result === op.result &&
                (name !== 'ioctl' || requestOf(args) === requestOf(op.args)),
            }),
          ),
    );
  });
}

/** Offsets of the words that the program itself writes into its arena: no answers of the kernel's. */
function ownWords(ops: readonly DecodedOp[]): Set<number> {
  const own = new Set<number>();
  for (const { name, args } of ops) {
    if (name !== 'store' || args[1]?.kind !== 'arena') continue;
    own.add(args[1].offset).add(args[1].offset + 4);
  }
  return own;
}

/** An operation with what its arguments pointed to. */
interface Answered {
  op: DecodedOp;
  index: number;
  before: Buffer;
  after: Buffer;
  own: ReadonlySet<number>;
}
type Told = Pick<Lie, 'text' | 'tell'>;

/**
 * Calls that only prepare the stage are not here: a lie about them breaks the test, not a promise.
 * A false descriptor of VFIO_GROUP_GET_DEVICE_FD would be leaked, or close a stranger.
 */
function liesAboutOp(answered: Answered): Told[] {
  const { op, index } = answered;
  switch (op.name) {
    case 'ioctl': {
      const request = requestOf(op.args);
      const name = nameOf(request);
      if (request === VFIO_GROUP_GET_DEVICE_FD.request)
        return op.result < 0n ? [wrongErrno(name, op, index)] : [];
      return [...falseResult(name, op, index), ...falseWords(name, answered, 2)];
    }
    case 'read':
    case 'pread': {
      const name = nameAt(op);
      return [
        ...falseResult(name, op, index),
        ...(op.result > 0n ? falseWords(name, answered, 1).slice(0, 1) : []),
      ];
    }
    case 'pwrite':
    case 'ppoll':
    case 'verify':
      return falseResult(nameAt(op), op, index);
    case 'load':
      return op.result < 0n
        ? falseResult('load', op, index)
        : [
            {
              text: `load of 0x${op.value.toString(16)} told with bit 0 flipped`,
              tell: (program) => program.forgeValue(index, op.value ^ 1n),
            },
          ];
    case 'copy':
      return falseWords('memory', answered, 0).slice(0, 1);
    default:
      return [];
  }
}

function falseResult(name: string, op: DecodedOp, index: number): Told[] {
  if (op.result < 0n) {
    return [
      wrongErrno(name, op, index),
      {
        text: `${name}: ${errnoName(Number(-op.result))} told as success`,
        tell: (program) => program.forgeResult(index, 0n),
      },
    ];
  }
  const refused = {
    text: `${name}: result ${op.result} told as EINVAL`,
    tell: (program: ProgramMemory) => program.forgeResult(index, -EINVAL),
  };
  const other = op.result === 0n ? 1n : op.result - 1n;
  return [
    refused,
    {
      text: `${name}: result ${op.result} told as ${other}`,
      tell: (program) => program.forgeResult(index, other),
    },
  ];
}

function wrongErrno(name: string, op: DecodedOp, index: number): Told {
  const other = [EINVAL, ENOTTY, EFAULT].find((errno) => errno !== -op.result) ?? EINVAL;
  return {
    text: `${name}: ${errnoName(Number(-op.result))} told as ${errnoName(Number(other))}`,
    tell: (program) => program.forgeResult(index, -other),
  };
}

/** The 32-bit words that the call changed, each told with its lowest bit flipped. */
function falseWords(name: string, { op, before, after, own }: Answered, argument: number): Told[] {
  const start = op.args[argument];
  if (start?.kind !== 'arena') return [];
  const lies: Told[] = [];
  const end = Math.min(after.length, before.length);
  for (let at = start.offset; at + 4 <= end && lies.length < MAX_WORDS; at += 4) {
    const told = after.readUInt32LE(at);
    if (told === before.readUInt32LE(at) || own.has(at)) continue;
    lies.push({
      text: `${name}: word at ${at - start.offset} (0x${told.toString(16)}) told with bit 0 flipped`,
      tell: (program) => {
        const word = program.arenaBytes(at, 4);
        word.writeUInt32LE((word.readUInt32LE() ^ 1) >>> 0);
      },
    });
  }
  return lies;
}

function immediate(value: DecodedArg | undefined): bigint | undefined {
  return value?.kind === 'immediate' ? value.value : undefined;
}

function requestOf(args: readonly DecodedArg[]): number {
  return Number(immediate(args[1]) ?? 0n);
}

/** All that the number means, on whatever fd. */
function nameOf(request: number): string {
  const names = meaningsOf(request).map(({ name }) => name);
  return names.length > 0 ? names.join('/') : `ioctl 0x${request.toString(16)}`;
}

/** With the offset, which on a device tells the region: 0x70000000004 is COMMAND in config space. */
function nameAt({ name, args }: DecodedOp): string {
  const offset = name === 'pread' || name === 'pwrite' ? immediate(args[3]) : undefined;
  return offset === undefined ? name : `${name} at 0x${offset.toString(16)}`;
}

/**
 * At most `most` lies, spread evenly, the same ones every time; a lie that says the same of the
 * same kind of call stands for its likes in a loop.
 */
export function sampleLies(lies: readonly Lie[], most: number): Lie[] {
  const distinct = [...new Map(lies.map((lie) => [lie.text, lie])).values()];
  if (distinct.length <= most) return distinct;
  return Array.from(
    { length: most },
    (_, index) => distinct[Math.floor((index * distinct.length) / most)]!,
  );
}
