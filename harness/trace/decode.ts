/** Recorded programs as lines of text, in the manner of strace but with knowledge of VFIO. */
import { errnoMessage, errnoName } from '../abi/errno.ts';
import type { Ioctl } from '../abi/ioctl.ts';
import { AT_FDCWD } from '../abi/libc.ts';
import type { Struct } from '../abi/struct.ts';
import {
  PCI_REGION_INDEXES,
  VFIO_PCI_CONFIG_REGION_INDEX,
  vfio_info_cap_header,
} from '../abi/vfio.ts';
import type { RecordedRun } from '../shim/index.ts';
import { argumentArea, inputKnown, outputKnown } from './arena-use.ts';
import {
  reached,
  requestOf,
  signed,
  stringAt,
  timeline,
  unfinished,
  valueOf,
  type Call,
} from './call.ts';
import { configRegister } from './config-registers.ts';
import { splitPosition } from './device-position.ts';
import {
  argumentText,
  byteText,
  changesText,
  flagNames,
  hex,
  valueName,
  type Labels,
} from './format.ts';
import { likelyIoctl, meaningsOf } from './ioctls.ts';
import type { OpenFd } from './process-state.ts';
import { SIGNALS, signatureOf, type Param } from './signature.ts';
import { Tracker } from './tracker.ts';

/** Calls that took longer than this (ns) show how long. */
const SLOW = 10_000_000n;

/** Operations that read or write memory under guard. */
const GUARDED = ['load', 'store', 'copy', 'fill', 'verify', 'wait'];

/** More lines than this are cut in the middle: nobody reads them, and reports carry them about. */
const MAX_LINES = 2000;

/** One line for each call of these runs, in the order in which they began. */
export function decodeRuns(runs: readonly RecordedRun[], maxLines = MAX_LINES): string[] {
  const tracker = new Tracker();
  const lines: string[] = [];
  const calls = timeline(runs);
  const half = Math.floor(maxLines / 2);
  const cut = calls.length > maxLines ? { from: half, to: calls.length - half } : undefined;
  calls.forEach((call, position) => {
    const previous = runs[call.run - 1]?.run ?? -1;
    const missing = (runs[call.run]?.run ?? 0) - previous - 1;
    if (call.index === 0 && missing > 0) lines.push(`... ${missing} runs were not kept ...`);
    if (position === cut?.from) lines.push(`... ${cut.to - cut.from} calls are not shown ...`);
    // What is not shown still opens and closes.
    const hidden = cut && position >= cut.from && position < cut.to;
    if (!hidden) lines.push(describeCall(call, tracker));
    tracker.apply(call);
  });
  return lines;
}

/** One call as a line; the tracker knows what came before it. */
export function describeCall(
  call: Call,
  tracker: Tracker,
  text: string = callText(call, tracker),
): string {
  const place = call.place === '' ? '' : `[${call.place}] `;
  return `${place}${text} = ${resultText(call, tracker)}`;
}

/** Name and arguments alone. */
export function callText(call: Call, tracker: Tracker): string {
  const { op } = call;
  const value = (index: number) => valueOf(call, index);
  switch (op.name) {
    case 'load':
      return `load${value(0)}(${addressArgument(call, 1, tracker)})`;
    case 'store':
      return `store${value(0)}(${addressArgument(call, 1, tracker)}, ${hex(BigInt.asUintN(Number(value(0)), value(2)))})`;
    case 'wait':
      return `wait${value(0)}(${addressArgument(call, 1, tracker)}, mask ${hex(value(2))}, value ${hex(value(3))}, ${value(4)} ns)`;
    case 'repeat':
      return `repeat(${call.index - Number(value(0))} operations before, ${value(1)} times)`;
    case 'sample':
      return `sample(operations ${value(0)} to ${value(1)})`;
    case 'fork':
      return `fork(${value(0)} operations)`;
    case 'pread':
    case 'pwrite':
      return positionedText(call, tracker);
    default: {
      const { params } = signatureOf(op.name);
      const last = op.args.findLastIndex((arg) => arg.kind !== 'immediate' || arg.value !== 0n);
      // These two take as many arguments as they need.
      const least = { openat: 3, ioctl: 2 }[op.name as string];
      const count = least === undefined ? params.length : Math.max(last + 1, least);
      const texts = Array.from({ length: count }, (_, i) =>
        argumentOf(call, i, params[i], tracker),
      );
      return `${op.name}(${texts.filter((text) => text !== '').join(', ')})`;
    }
  }
}

function labelsFor(call: Call, tracker: Tracker): Labels {
  return {
    fd: (number) => fdText(number, tracker.fd(call.process, number)),
    address: (address) => addressText(call, address, tracker),
  };
}

function fdText(number: number, open: OpenFd | undefined): string {
  return open ? `${number}<${open.label}>` : String(number);
}

function addressText(call: Call, address: bigint, tracker: Tracker): string {
  if (address === 0n) return 'NULL';
  const mapping = tracker.mapping(call.process, address);
  if (mapping?.file?.kind !== 'device') return hex(address);
  const position = mapping.offset + (address - mapping.start);
  return `${hex(address)}<${mapping.file.label} ${regionText(position, mapping.file)}>`;
}

/** Region and offset of a position in a vfio-pci device: `BAR0+0x10`, `CONFIG+PCI_COMMAND`. */
function regionText(position: bigint, device: OpenFd): string {
  const { region: index, offset } = splitPosition(position);
  const name = valueName(index, PCI_REGION_INDEXES).replace(/^VFIO_PCI_(\w+)_REGION_INDEX$/, '$1');
  const region = /^\d/.test(name) ? `region ${name}` : name;
  const place =
    index === VFIO_PCI_CONFIG_REGION_INDEX
      ? configRegister(offset, device.config ?? new Map())
      : hex(offset);
  return `${region}+${place}`;
}

function addressArgument(call: Call, index: number, tracker: Tracker): string {
  const arg = call.op.args[index];
  return arg?.kind === 'arena'
    ? `data+${hex(arg.offset)}`
    : addressText(call, valueOf(call, index), tracker);
}

function positionedText(call: Call, tracker: Tracker): string {
  const number = signed(valueOf(call, 0));
  const open = tracker.fd(call.process, number);
  const position = valueOf(call, 3);
  const place = open?.kind === 'device' ? regionText(position, open) : hex(position);
  const { params } = signatureOf(call.op.name);
  const data = argumentOf(call, 1, params[1], tracker);
  return `${call.op.name}(${fdText(number, open)}, ${data}, ${call.values[2]}, ${place})`;
}

function argumentOf(call: Call, index: number, param: Param | undefined, tracker: Tracker): string {
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
      return pairText(call, param.layout, area, tracker);
    case 'array': {
      const { element } = param;
      return `[${Array.from({ length: Math.floor(area.length / element.size) }, (_, i) =>
        pairText(
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

/** A struct as it was given, and behind `=>` what the call changed in it. */
function pairText(
  call: Call,
  layout: Struct<unknown>,
  area: { offset: number; length: number },
  tracker: Tracker,
): string {
  const labels = labelsFor(call, tracker);
  const before = call.before.subarray(area.offset, area.offset + area.length);
  const after = call.after.subarray(area.offset, area.offset + area.length);
  const input = inputKnown(call, area);
  const output = reached(call) && outputKnown(call, area);
  if (!input)
    return output ? `=> ${argumentText(layout, after, labels)}` : `data+${hex(area.offset)}`;
  const given = argumentText(layout, before, labels);
  if (!output) return given;
  const changes = changesText(layout, before, after, labels);
  return changes === '' ? given : `${given} => ${changes}`;
}

function requestText(call: Call, tracker: Tracker): string {
  const ioctl = tracker.ioctlOf(call);
  if (ioctl) return ioctl.name;
  const request = requestOf(call);
  const others = meaningsOf(request).map(({ name, fd }) => `${name} of ${fd}`);
  return others.length > 0 ? `${hex(request)} /* ${others.join(', ')} */` : hex(request);
}

function ioctlArgument(call: Call, tracker: Tracker): string {
  // On an fd that does not know the number, the argument is shown as its likeliest owner means it.
  const arg = call.op.args[2];
  const value = valueOf(call, 2);
  const area = argumentArea(call, 2);
  const ioctl = tracker.ioctlOf(call) ?? likelyIoctl(requestOf(call), area?.length);
  if (arg?.kind !== 'arena' || !area) {
    if (ioctl?.argument === 'none' && value === 0n) return '';
    if (ioctl?.argument === 'value') return valueName(signed(value), ioctl.values);
    if (ioctl && ioctl.argument !== 'none') return addressText(call, value, tracker);
    return hex(value);
  }
  const before = call.before.subarray(area.offset, area.offset + area.length);
  switch (ioctl?.argument) {
    case 'string':
      return JSON.stringify(stringAt(call.before, area.offset));
    case 'fd-pointer': {
      if (!inputKnown(call, area) || before.length < 4) return `data+${hex(area.offset)}`;
      const number = before.readInt32LE(0);
      return `[${fdText(number, tracker.fd(call.process, number))}]`;
    }
    case 'u32-pointer':
      return before.length < 4 ? '[]' : `[${before.readUInt32LE(0)}]`;
    case 'struct':
      return structArgument(call, ioctl, area, tracker);
    default:
      return byteText(before);
  }
}

function structArgument(
  call: Call,
  ioctl: Ioctl,
  area: { offset: number; length: number },
  tracker: Tracker,
): string {
  const layout = ioctl.struct as Struct<unknown>;
  const text = pairText(call, layout, area, tracker);
  if (call.op.result < 0n || !outputKnown(call, area)) return text;
  const after = call.after.subarray(area.offset, area.offset + area.length);
  const chain = capabilityTexts(ioctl, layout, after, labelsFor(call, tracker));
  return chain.length > 0 ? `${text} with ${chain.join(', ')}` : text;
}

/** The capabilities chained behind an INFO struct. */
function capabilityTexts(
  ioctl: Ioctl,
  layout: Struct<unknown>,
  bytes: Buffer,
  labels: Labels,
): string[] {
  const texts: string[] = [];
  if (!layout.fields.has('cap_offset')) return texts;
  let offset = Number((layout.decode(bytes) as { cap_offset: number }).cap_offset);
  const seen = new Set<number>();
  while (
    offset >= vfio_info_cap_header.size &&
    offset + vfio_info_cap_header.size <= bytes.length &&
    !seen.has(offset)
  ) {
    seen.add(offset);
    const { id, version, next } = vfio_info_cap_header.decode(bytes, offset);
    const name = valueName(id, ioctl.capabilities);
    const capability = ioctl.capabilityStructs[id];
    texts.push(
      capability
        ? `${name} ${argumentText(capability, bytes.subarray(offset), labels)}`
        : `capability ${id} version ${version}`,
    );
    offset = next;
  }
  return texts;
}

function resultText(call: Call, tracker: Tracker): string {
  const { op } = call;
  if (!reached(call)) return '? <not reached>';
  if (unfinished(call) && op.name.startsWith('exit')) return '?';
  if (unfinished(call)) return '? <unfinished ...>';
  const slow = op.end - op.start >= SLOW ? ` <${seconds(op.end - op.start)}>` : '';
  return `${answerText(call, tracker)}${slow}`;
}

function seconds(ns: bigint): string {
  return `${(Number(ns) / 1e9).toFixed(6)} s`;
}

function answerText(call: Call, tracker: Tracker): string {
  const { op } = call;
  const kind = signatureOf(op.name).result;
  if (op.result < 0n && op.result >= -4095n) {
    const errno = Number(-op.result);
    const guarded = GUARDED.includes(op.name);
    if (guarded && errnoName(errno) === 'EIO') return '-1 EIO (SIGBUS)';
    if (guarded && errnoName(errno) === 'EFAULT') return '-1 EFAULT (SIGSEGV)';
    const loops = op.name === 'repeat' ? ` after ${op.count} times` : '';
    return `-1 ${errnoName(errno)} (${errnoMessage(errno)})${loops}`;
  }
  if (op.name === 'load' || op.name === 'wait') return `${op.result} (value ${hex(op.value)})`;
  if (op.name === 'verify' && op.result > 0n) return `first difference at ${hex(op.result - 1n)}`;
  if (op.name === 'repeat') return `${op.result} (${op.count} times)`;
  if (kind === 'address') return hex(BigInt.asUintN(64, op.result));
  const opens = kind === 'fd' || tracker.ioctlOf(call)?.returns !== undefined;
  if (!opens || op.name === 'ioctl') {
    if (op.name === 'ioctl' && opens) return fdText(Number(op.result), opened(call, tracker));
    return String(op.result);
  }
  return fdText(Number(op.result), opened(call, tracker));
}

/** The fd that this call opens, as it will be known afterwards. */
function opened(call: Call, tracker: Tracker): OpenFd | undefined {
  const next = tracker.snapshot();
  next.apply(call);
  return next.fd(call.process, Number(call.op.result));
}
