/** One argument of a call as text. */
import { AT_FDCWD } from '../../abi/libc.ts';
import { argumentArea, inputKnown, outputKnown } from '../arena-use.ts';
import { signed, stringAt, valueOf, type Call } from '../call.ts';
import { SIGNALS, type Param } from '../signature.ts';
import type { Tracker } from '../tracker.ts';
import { givenAndChanged } from './given-and-changed.ts';
import { ioctlArgument, requestText } from './ioctl.ts';
import { addressArgument, fdText } from './labels.ts';
import { byteText, flagNames, hex, valueName } from './values.ts';

export function argumentOf(
  call: Call,
  index: number,
  param: Param | undefined,
  tracker: Tracker,
): string {
  const value = valueOf(call, index);
  const arg = call.op.args[index];
  if (!arg) return '';
  switch (param?.kind) {
    case 'fd':
      return fdText(signed(value), tracker.fd(call.process, signed(value)));
    case 'dirfd':
      return signed(value) === AT_FDCWD
        ? 'AT_FDCWD'
        : fdText(signed(value), tracker.fd(call.process, signed(value)));
    case 'path':
      return arg.kind === 'arena' ? JSON.stringify(stringAt(call.before, arg.offset)) : hex(value);
    case 'pid':
    case 'int':
      return String(BigInt.asIntN(64, value) < 0n ? BigInt.asIntN(64, value) : signed(value));
    case 'unsigned':
    case 'width':
      return String(value);
    case 'octal':
      return value === 0n ? '0' : `0${value.toString(8)}`;
    case 'flags':
      return flagNames(value & 0xffffffffn, param.names, param.zero);
    case 'value':
      return valueName(signed(value), param.names);
    case 'ioctl-argument':
      return ioctlArgument(call, tracker);
    case 'address':
      return addressArgument(call, index, tracker);
    default:
      break;
  }
  if (call.op.name === 'ioctl' && index === 1) return requestText(call, tracker);
  if (arg.kind !== 'arena') return param ? hex(value) : String(value);
  return areaText(call, index, param, tracker);
}

function areaText(call: Call, index: number, param: Param | undefined, tracker: Tracker): string {
  const area = argumentArea(call, index);
  const arg = call.op.args[index];
  if (!area || arg?.kind !== 'arena' || !param) return `data+${hex(Number(call.values[index]))}`;
  const before = call.before.subarray(area.offset, area.offset + area.length);
  const after = call.after.subarray(area.offset, area.offset + area.length);
  const unknown = `data+${hex(area.offset)}`;
  switch (param.kind) {
    case 'in':
      return inputKnown(call, area) ? byteText(before) : unknown;
    case 'out': {
      if (call.op.result <= 0n || !outputKnown(call, area)) return unknown;
      return byteText(after.subarray(0, Number(call.op.result)));
    }
    case 'record':
      return givenAndChanged(call, param.layout, area, tracker);
    case 'array': {
      const { element } = param;
      return `[${Array.from({ length: Math.floor(area.length / element.size) }, (_, i) =>
        givenAndChanged(
          call,
          element,
          { offset: area.offset + i * element.size, length: element.size },
          tracker,
        ),
      ).join(', ')}]`;
    }
    case 'fd-pair':
      return call.op.result < 0n ? unknown : `[${after.readInt32LE(0)}, ${after.readInt32LE(4)}]`;
    case 'status':
      return call.op.result <= 0n || !outputKnown(call, area) ? unknown : statusText(after);
    default:
      return unknown;
  }
}

/** The status of wait4: `[exited 1]`, `[killed by SIGBUS]`. */
function statusText(bytes: Buffer): string {
  const status = bytes.readInt32LE(0);
  if ((status & 0x7f) === 0) return `[exited ${(status >> 8) & 0xff}]`;
  return `[killed by ${valueName(status & 0x7f, SIGNALS)}]`;
}
