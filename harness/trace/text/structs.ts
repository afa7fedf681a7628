/** Structs as text, the way strace writes them. */
import type { Field, Struct } from '../../abi/struct.ts';
import { byteText, flagNames, hex, valueName } from './values.ts';

/** How numbers with a meaning are written; without it, as numbers. */
export interface Labels {
  fd?(fd: number): string;
  address?(address: bigint): string;
}

const MAX_ELEMENTS = 16;

/** Fields that exist for padding; shown only if they are not zero. */
const PADDING = /^(__)?(pad|resv\d?|reserved)\d?$/;

function fieldText(field: Field<unknown>, value: unknown, labels: Labels): string {
  if ('fields' in field) {
    const nested = field as Struct<unknown>;
    return `{${fieldTexts(nested, value as object, labels, nested.size).join(', ')}}`;
  }
  if (value instanceof Uint8Array) return byteText(value);
  if (field.meaning === 'fd') return labels.fd?.(Number(value)) ?? String(value);
  if (field.meaning === 'address') return labels.address?.(value as bigint) ?? hex(value as bigint);
  const number = BigInt(value as number | bigint);
  if (field.flags && field.values) {
    const known = Object.values(field.flags).reduce((sum, bit) => sum | BigInt(bit), 0n);
    const set = flagNames(number & known, field.flags, '');
    return [set, valueName(number & ~known, field.values)].filter(Boolean).join('|');
  }
  if (field.flags) return flagNames(number, field.flags);
  if (field.values) return valueName(number, field.values);
  return field.size === 8 ? hex(number) : String(number);
}

/** Names of the fields in the order in which they are shown; of a union, the first member. */
function shownFields(layout: Struct<unknown>, bytes: number): string[] {
  return [...layout.fields]
    .filter(([, { offset, field }]) => !field.overlays && offset + field.size <= bytes)
    .map(([name]) => name);
}

/** `argsz=32`, `flags=…`: the fields within the first `available` bytes. */
function fieldTexts(
  layout: Struct<unknown>,
  values: object,
  labels: Labels,
  available: number,
): string[] {
  const parts: string[] = [];
  for (const name of shownFields(layout, available)) {
    const value = (values as Record<string, unknown>)[name];
    if (PADDING.test(name) && isZero(value)) continue;
    const field = layout.fields.get(name)?.field;
    if (field) parts.push(`${name}=${fieldText(field, value, labels)}`);
  }
  return parts;
}

function isZero(value: unknown): boolean {
  return value instanceof Uint8Array ? value.every((byte) => byte === 0) : Number(value) === 0;
}

/** `{argsz=32, flags=…}` with what follows the struct, read from the bytes of the whole argument. */
export function argumentText(layout: Struct<unknown>, bytes: Buffer, labels: Labels = {}): string {
  const values = layout.decode(bytes) as object;
  const parts = fieldTexts(layout, values, labels, bytes.length);
  const tail = tailText(layout, bytes, labels);
  if (tail !== undefined) parts.push(`${layout.tail?.name}=${tail}`);
  return `{${parts.join(', ')}}`;
}

function tailText(layout: Struct<unknown>, bytes: Buffer, labels: Labels): string | undefined {
  const meaning = layout.tail?.meaning?.(layout.decode(bytes));
  if (!meaning) return undefined;
  const { element, count = 0 } = meaning;
  const available = Math.floor((bytes.length - layout.tailOffset) / element.size);
  const shown = Math.min(count, available, MAX_ELEMENTS);
  if (shown <= 0) return count > 0 ? '[missing]' : undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elements = Array.from({ length: shown }, (_, i) => {
    const at = layout.tailOffset + i * element.size;
    return 'fields' in element && (element as Struct<unknown>).tail
      ? argumentText(element as Struct<unknown>, bytes.subarray(at), labels)
      : fieldText(element, element.read(view, at), labels);
  });
  // One struct in a `data[]` of bytes is no array.
  if (count === 1 && 'fields' in element && element !== layout.tail?.element) return elements[0];
  if (count > shown) elements.push(`... ${count - shown} more`);
  return `[${elements.join(', ')}]`;
}

/** What a call changed in its argument: `{argsz=56}`, or '' if nothing. */
export function changesText(
  layout: Struct<unknown>,
  before: Buffer,
  after: Buffer,
  labels: Labels = {},
): string {
  const old = layout.decode(before) as Record<string, unknown>;
  const now = layout.decode(after) as Record<string, unknown>;
  const parts: string[] = [];
  for (const name of shownFields(layout, after.length)) {
    const field = layout.fields.get(name)?.field;
    if (!field) continue;
    const text = fieldText(field, now[name], labels);
    if (text !== fieldText(field, old[name], labels)) parts.push(`${name}=${text}`);
  }
  const tail = tailText(layout, after, labels);
  if (tail !== undefined && tail !== tailText(layout, before, labels))
    parts.push(`${layout.tail?.name}=${tail}`);
  return parts.length > 0 ? `{${parts.join(', ')}}` : '';
}

/** Every number in an argument: the struct's fields, those of nested structs, and what follows. */
export function fieldTextAt(
  layout: Struct<unknown>,
  bytes: Buffer,
): { at: number; size: number; name: string; text: string }[] {
  const found: { at: number; size: number; name: string; text: string }[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const visit = (field: Field<unknown>, at: number, name: string) => {
    if (at + field.size > bytes.length) return;
    if ('fields' in field) visitStruct(field as Struct<unknown>, at, `${name}.`);
    else if (field.element) {
      for (let i = 0; i < field.size / field.element.size; i++)
        visit(field.element, at + i * field.element.size, `${name}[${i}]`);
    } else
      found.push({ at, size: field.size, name, text: fieldText(field, field.read(view, at), {}) });
  };
  const visitStruct = (struct: Struct<unknown>, base: number, prefix: string) => {
    for (const [name, { offset, field }] of struct.fields)
      if (!field.overlays) visit(field, base + offset, prefix + name);
    const tail = struct.tail?.meaning?.(struct.decode(bytes, base));
    if (!tail) return;
    const { element, count = 0 } = tail;
    const first = base + struct.tailOffset;
    for (let i = 0; i < count && first + (i + 1) * element.size <= bytes.length; i++)
      visit(element, first + i * element.size, `${prefix}${struct.tail?.name}[${i}]`);
  };
  visitStruct(layout, 0, '');
  return found;
}
