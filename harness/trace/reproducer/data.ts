/** Gives the memory of each run the content that it had before. */
import type { Struct } from '../../abi/struct.ts';
import { argumentArea, inputKnown } from '../arena-use.ts';
import { reached, requestOf, type Call } from '../call.ts';
import { fieldTextAt } from '../text/structs.ts';
import { hex } from '../text/values.ts';
import { likelyIoctl } from '../ioctls.ts';
import { signatureOf } from '../signature.ts';
import { meaningOffsets } from '../meaning-offsets.ts';
import type { Tracker } from '../tracker.ts';
import { commentSafe, literal } from './c-text.ts';
import { addressExpression, fdExpression } from './numbers.ts';
import type { Writer } from './writer.ts';

/** Bytes of one piece of data that are written out; what is behind them is left zero, and said so. */
const MAX_DATA = 4096;

/** The structs (or single fd) that an argument points to. */
export function pieces(writer: Writer, call: Call, argument: number): Piece[] {
  const area = argumentArea(call, argument);
  const param = signatureOf(call.op.name).params[argument];
  if (!area || !inputKnown(call, area)) return [];
  if (param?.kind === 'record') return [{ ...area, layout: param.layout }];
  if (param?.kind === 'array')
    return Array.from({ length: Math.floor(area.length / param.element.size) }, (_, i) => ({
      offset: area.offset + i * param.element.size,
      length: param.element.size,
      layout: param.element,
    }));
  if (param?.kind !== 'ioctl-argument') return [];
  const ioctl = writer.recording.ioctl(call) ?? likelyIoctl(requestOf(call), area.length);
  if (ioctl?.argument === 'fd-pointer') return [{ offset: area.offset, length: 4, layout: 'fd' }];
  return ioctl?.struct ? [{ ...area, layout: ioctl.struct }] : [];
}

/** Statements that give the arena of a run the content it had before. */
export function initialData(writer: Writer, position: number, state: Tracker): string[] {
  const before = writer.recording.runs[position]?.arenaBefore ?? Buffer.alloc(0);
  const rest = Buffer.alloc(before.length);
  // Only what a call is given counts; between the areas lies what the arena held earlier.
  for (const call of writer.recording.calls[position] ?? [])
    call.op.args.forEach((_, argument) => {
      const area = argumentArea(call, argument);
      if (area) before.copy(rest, area.offset, area.offset, area.offset + area.length);
    });
  const lines: string[] = [];
  const done = new Set<number>();
  const put = (offset: number, value: string, size: number, comment: string) => {
    writer.used.add('put');
    lines.push(
      `	put(s->a${position} + ${hex(offset)}, ${value}, ${size}); /* ${commentSafe(comment)} */`,
    );
    rest.fill(0, offset, offset + size);
  };
  for (const call of writer.recording.calls[position] ?? []) {
    if (!reached(call)) continue;
    call.op.args.forEach((_, argument) => {
      for (const { offset, length, layout } of pieces(writer, call, argument)) {
        if (done.has(offset)) continue;
        done.add(offset);
        const bytes = before.subarray(offset, offset + length);
        if (layout === 'fd') {
          if (bytes.length < 4) continue;
          put(offset, fdExpression(writer, call.process, bytes.readInt32LE(0), state), 4, 'fd');
        } else if (layout) {
          fields(writer, layout, bytes, offset, call.process, state, put);
        }
      }
    });
  }
  return [...lines, ...bytes(writer, position, rest)];
}

/** One statement for each field that is not zero, and for what follows the struct. */
function fields(
  writer: Writer,
  layout: Struct<unknown>,
  bytes: Buffer,
  base: number,
  process: string,
  state: Tracker,
  put: (offset: number, value: string, size: number, comment: string) => void,
): void {
  const fds = new Set(meaningOffsets(layout, bytes, 'fd'));
  const addresses = new Set(meaningOffsets(layout, bytes, 'address'));
  for (const { at, size, name, text } of fieldTextAt(layout, bytes)) {
    const value = size === 8 ? bytes.readBigUInt64LE(at) : BigInt(bytes.readUIntLE(at, size));
    let expression = literal(value, text === String(value));
    if (fds.has(at)) expression = fdExpression(writer, process, bytes.readInt32LE(at), state);
    else if (addresses.has(at)) expression = addressExpression(writer, process, value, state);
    if (value !== 0n)
      put(base + at, expression, size, text === String(value) ? name : `${name}=${text}`);
  }
}

/** Statements for what is not part of a known struct. */
function bytes(writer: Writer, position: number, bytes: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    // A piece ends where eight zeros begin.
    let end = bytes.indexOf(Buffer.alloc(8), at);
    if (end < 0) end = bytes.length;
    while (bytes[end - 1] === 0) end--;
    const shown = bytes.subarray(at, Math.min(end, at + MAX_DATA));
    const target = `s->a${position} + ${hex(at)}`;
    const printable = shown.every((byte) => byte >= 0x20 && byte < 0x7f);
    if (printable) {
      const text = shown.toString('latin1').replace(/["\\?]/g, '\\$&');
      lines.push(`	memcpy(${target}, "${text}", ${shown.length});`);
    } else {
      const numbers = [...shown].map(String);
      const rows = Array.from({ length: Math.ceil(numbers.length / 16) }, (_, row) =>
        numbers.slice(16 * row, 16 * row + 16).join(', '),
      );
      lines.push(
        `	memcpy(${target}, (const unsigned char[]){`,
        ...rows.map((row) => `		${row},`),
        `	}, ${shown.length});`,
      );
    }
    if (end > at + MAX_DATA) {
      lines.push(`	/* ${end - at - MAX_DATA} bytes more are not repeated here */`);
      writer.notes.add('Large data are not repeated as a whole: see the comments.');
    }
    at = end;
  }
  return lines;
}

export interface Piece {
  offset: number;
  length: number;
  layout: Struct<unknown> | 'fd' | undefined;
}
