/** Which bytes of the arena each call of a run touches, and whether their content is known. */
import { reached, valueOf, type Call } from './call.ts';
import { HARNESS_OPS } from '../shim/index.ts';
import { signatureOf } from './signature.ts';

const HARNESS = new Set<string>(HARNESS_OPS);

/** Some bytes of the arena. */
export interface Area {
  offset: number;
  /** Bytes; to the end of the arena if the call does not say. */
  length: number;
}

function areaOf(call: Call, argument: number): Area | undefined {
  const arg = call.op.args[argument];
  if (arg?.kind !== 'arena') return undefined;
  const param = signatureOf(call.op.name).params[argument];
  const rest = call.before.length - arg.offset;
  const limited = (length: number) => ({ offset: arg.offset, length: Math.min(length, rest) });
  const value = (index: number) => Number(valueOf(call, index));
  switch (param?.kind) {
    case 'in':
    case 'out':
      return limited(value(param.length));
    case 'record':
      return limited(param.layout.size);
    case 'array':
      return limited(param.element.size * value(param.count));
    case 'fd-pair':
      return limited(8);
    case 'status':
      return limited(4);
    case 'path':
    case 'ioctl-argument':
      return limited(rest);
    default:
      break;
  }
  switch (call.op.name) {
    case 'load':
    case 'store':
    case 'wait':
      return limited(value(0) / 8);
    case 'copy':
      return limited(value(2));
    case 'fill':
    case 'verify':
      return limited(value(1));
    default:
      return limited(rest);
  }
}

/** What the calls of a run do with its arena: worked out once for all of them, some runs have thousands. */
interface ArenaUse {
  /** Of each call, the bytes that its arguments lead to. */
  areas: (Area | undefined)[][];
  /** Of each byte, the index of the first operation that touches it. */
  first: Int32Array;
  /** Of each byte, the index of the last operation that was reached and touches it; -1: none. */
  last: Int32Array;
}

const useOfRun = new WeakMap<readonly Call[], ArenaUse>();

function arenaUse(calls: readonly Call[]): ArenaUse {
  const known = useOfRun.get(calls);
  if (known) return known;
  const size = calls[0]?.before.length ?? 0;
  const use: ArenaUse = {
    areas: areasOf(calls),
    first: new Int32Array(size).fill(calls.length),
    last: new Int32Array(size).fill(-1),
  };
  for (const call of calls)
    for (const area of use.areas[call.index] ?? []) {
      if (!area) continue;
      const end = area.offset + area.length;
      for (let at = area.offset; at < end; at++) {
        if (use.first[at] === calls.length) use.first[at] = call.index;
        if (reached(call)) use.last[at] = call.index;
      }
    }
  useOfRun.set(calls, use);
  return use;
}

function areasOf(calls: readonly Call[]): (Area | undefined)[][] {
  // Loads and stores may name places within what a system call is given.
  const named = calls.flatMap(({ op }) =>
    HARNESS.has(op.name)
      ? []
      : op.args.flatMap((arg) => (arg.kind === 'arena' ? [arg.offset] : [])),
  );
  const ascending = [...new Set(named)].sort((a, b) => a - b);
  const next = new Map(ascending.map((offset, position) => [offset, ascending[position + 1]]));
  return calls.map((call) =>
    call.op.args.map((_, argument) => {
      const area = areaOf(call, argument);
      const { kind } = signatureOf(call.op.name).params[argument] ?? {};
      const end = area && kind === 'ioctl-argument' ? next.get(area.offset) : undefined;
      if (!area || end === undefined) return area;
      return { offset: area.offset, length: Math.min(area.length, end - area.offset) };
    }),
  );
}

/**
 * The bytes that a pointer argument leads to. Where the call does not say how many, they end where
 * another argument of the run points to.
 */
export function argumentArea(call: Call, argument: number): Area | undefined {
  return arenaUse(call.siblings).areas[call.index]?.[argument];
}

/** No earlier operation of the run touched these bytes: the call was given what lay there before. */
export function inputKnown(call: Call, area: Area): boolean {
  const touched = arenaUse(call.siblings).first.subarray(area.offset, area.offset + area.length);
  return touched.every((index) => index >= call.index);
}

/** No later operation of the run touched these bytes: what lies there afterwards is the call's. */
export function outputKnown(call: Call, area: Area): boolean {
  const touched = arenaUse(call.siblings).last.subarray(area.offset, area.offset + area.length);
  return touched.every((index) => index <= call.index);
}
