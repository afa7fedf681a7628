/** Recorded runs as a flat list of calls, with every argument resolved to the number it had. */
import { decodeBlock, type DecodedArg, type DecodedOp, type RecordedRun } from '../shim/index.ts';

/** One executed (or never reached) operation. */
export interface Call {
  /** Position of its run in the record. */
  run: number;
  /** Index in its program. */
  index: number;
  op: DecodedOp;
  /** What the kernel was given; an argument that points into the arena is its offset there. */
  values: bigint[];
  /** Who made it, for people: '' for the process itself, else `thread 1`, `process 12`, `child 13`. */
  place: string;
  /** Whose file descriptors and addresses are meant: 'here', `process 12`, `child 13`. */
  process: string;
  /** The arena before the run and after it. */
  before: Buffer;
  after: Buffer;
  /** All calls of the run. */
  siblings: readonly Call[];
}

/** An argument as the number that the kernel was given. */
export function valueOf(call: Call, index: number): bigint {
  return call.values[index] ?? 0n;
}

/** The number of an ioctl. */
export function requestOf(call: Call): number {
  return Number(BigInt.asUintN(32, valueOf(call, 1)));
}

/** A number as the kernel takes an `int`. */
export function signed(value: bigint): number {
  return Number(BigInt.asIntN(32, value));
}

/** The NUL-terminated string at an offset of the arena. */
export function stringAt(arena: Buffer, offset: number): string {
  const end = arena.indexOf(0, offset);
  return arena.toString('utf8', offset, end < 0 ? arena.length : end);
}

/** Was the operation executed at all? */
export function reached(call: Call): boolean {
  return call.op.count > 0n || call.op.start > 0n;
}

/** It began, but its end was never written: its process or the machine died in it. */
export function unfinished(call: Call): boolean {
  return call.op.start > 0n && call.op.end === 0n;
}

function resolve(arg: DecodedArg, ops: readonly DecodedOp[]): bigint {
  if (arg.kind === 'immediate') return arg.value;
  if (arg.kind === 'arena') return BigInt(arg.offset);
  const source = ops[arg.op];
  if (!source) return 0n;
  const value = source.name === 'load' ? source.value : source.result;
  return BigInt.asUintN(64, value + arg.addend);
}

/** The calls of one run, in the program's order. */
export function callsOf(run: RecordedRun, position: number): Call[] {
  const { ops, arena } = decodeBlock(run.block);
  const calls: Call[] = [];
  const outer = run.where === 'here' ? '' : run.where;
  const home = run.where.startsWith('process') ? run.where : 'here';
  /** Children whose operations we are in, innermost last, and where their operations end. */
  const children: { name: string; end: number }[] = [];
  ops.forEach((op, index) => {
    while (children.length > 0 && index >= (children.at(-1)?.end ?? 0)) children.pop();
    const child = children.at(-1)?.name;
    calls.push({
      run: position,
      index,
      op,
      values: op.args.map((arg) => resolve(arg, ops)),
      place: child ?? outer,
      process: child ?? home,
      before: run.arenaBefore,
      after: arena,
      siblings: calls,
    });
    if (op.name === 'fork') {
      const length = Number(op.args[0]?.kind === 'immediate' ? op.args[0].value : 0n);
      children.push({ name: `child ${op.result}`, end: index + 1 + length });
    }
  });
  return calls;
}

/**
 * The calls of all runs in the order in which they began. Within a thread or process the order is
 * the program's, whatever the clocks say: in a loop only the last iteration's times are known.
 */
export function timeline(runs: readonly RecordedRun[]): Call[] {
  const keyed: { call: Call; key: bigint }[] = [];
  let previousRun = 0n;
  runs.forEach((run, position) => {
    const last = new Map<string, bigint>();
    let first: bigint | undefined;
    for (const call of callsOf(run, position)) {
      // A child begins where its fork is, not before.
      const floor = last.get(call.process) ?? first ?? (call.op.start || previousRun);
      const key = call.op.start > floor ? call.op.start : floor;
      first ??= key;
      last.set(call.process, key);
      if (call.op.name === 'fork') last.set(`child ${call.op.result}`, key);
      keyed.push({ call, key });
      if (run.where === 'here' && call.process === 'here') previousRun = key;
    }
  });
  return keyed
    .map((entry, position) => ({ ...entry, position }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.position - b.position))
    .map(({ call }) => call);
}
