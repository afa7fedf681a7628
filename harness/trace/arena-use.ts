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

/** Offsets that system calls of a run name, ascending; the same for all its calls. */
const offsetsOfRun = new WeakMap<readonly Call[], number[]>();

function namedOffsets(call: Call): number[] {
  let offsets = offsetsOfRun.get(call.siblings);
  if (!offsets) {
    // Loads and stores may name places within what a system call is given.
    const all = call.siblings.flatMap(({ op }) =>
      HARNESS.has(op.name)
        ? []
        : op.args.flatMap((arg) => (arg.kind === 'arena' ? [arg.offset] : [])),
    );
    offsets = [...new Set(all)].sort((a, b) => a - b);
    offsetsOfRun.set(call.siblings, offsets);
  }
  return offsets;
}

/**
 * The bytes that a pointer argument leads to. Where the call does not say how many, they end where
 * another argument of the run points to.
 */
export function argumentArea(call: Call, argument: number): Area | undefined {
  const area = areaOf(call, argument);
  if (signatureOf(call.op.name).params[argument]?.kind !== 'ioctl-argument') return area;
  const next = namedOffsets(call).find((offset) => offset > (area?.offset ?? 0));
  if (!area || next === undefined) return area;
  return { offset: area.offset, length: Math.min(area.length, next - area.offset) };
}

function touches(other: Call, area: Area): boolean {
  return other.op.args.some((arg, argument) => {
    if (arg.kind !== 'arena') return false;
    const theirs = argumentArea(other, argument);
    return (
      theirs !== undefined &&
      theirs.offset < area.offset + area.length &&
      area.offset < theirs.offset + theirs.length
    );
  });
}

/** No earlier operation of the run touched these bytes: the call was given what lay there before. */
export function inputKnown(call: Call, area: Area): boolean {
  return !call.siblings.slice(0, call.index).some((other) => touches(other, area));
}

/** No later operation of the run touched these bytes: what lies there afterwards is the call's. */
export function outputKnown(call: Call, area: Area): boolean {
  return !call.siblings
    .slice(call.index + 1)
    .some((other) => reached(other) && touches(other, area));
}
