/**
 * C structs as data: declared once with their fields in order, laid out as the System V ABIs of all
 * 64-bit Linux architectures do (natural alignment), in the byte order of this machine.
 *
 * 64-bit fields are `bigint`, all others `number`.
 */
import { endianness } from 'node:os';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Names of flag bits, masks or values, under the header's own names. */
export type Names = Readonly<Record<string, number>>;

/**
 * What a number stands for beyond its value: `address` is a pointer into the process, `fd` a file
 * descriptor of it, `argsz` the size of the whole argument (filled in when left out).
 */
export type Meaning = 'address' | 'fd' | 'argsz';

/** How a value of type `T` lies in memory. A {@link Struct} is one too. */
export interface Field<T> {
  /** Bytes. */
  readonly size: number;
  readonly align: number;
  readonly meaning?: Meaning;
  /** Names of the bits, for fields that are a set of flags. */
  readonly flags?: Names;
  /** Names of the values, for fields that hold one of several. */
  readonly values?: Names;
  /** Union member: lies where the field of this name lies. */
  readonly overlays?: string;
  /** The element, for fixed-size arrays. */
  readonly element?: Field<unknown>;
  read(view: DataView, offset: number): T;
  write(view: DataView, offset: number, value: T): void;
}

function integer(size: 1 | 2 | 4, signed: boolean): Field<number> {
  const bits = size * 8;
  return {
    size,
    align: size,
    read(view, offset) {
      if (size === 1) return signed ? view.getInt8(offset) : view.getUint8(offset);
      if (size === 2)
        return signed
          ? view.getInt16(offset, LITTLE_ENDIAN)
          : view.getUint16(offset, LITTLE_ENDIAN);
      return signed ? view.getInt32(offset, LITTLE_ENDIAN) : view.getUint32(offset, LITTLE_ENDIAN);
    },
    write(view, offset, value) {
      // Both readings of a bit pattern are taken (-1 and 0xffffffff); anything else is a mistake.
      if (!Number.isInteger(value) || value < -(2 ** (bits - 1)) || value >= 2 ** bits)
        throw new RangeError(`${value} does not fit into ${bits} bits`);
      if (size === 1) view.setUint8(offset, value & 0xff);
      else if (size === 2) view.setUint16(offset, value & 0xffff, LITTLE_ENDIAN);
      else view.setUint32(offset, value >>> 0, LITTLE_ENDIAN);
    },
  };
}

export const u8 = integer(1, false);
export const u16 = integer(2, false);
export const u32 = integer(4, false);
const s32 = integer(4, true);

export const u64: Field<bigint> = {
  size: 8,
  align: 8,
  read: (view, offset) => view.getBigUint64(offset, LITTLE_ENDIAN),
  write: (view, offset, value) => {
    if (value < -(1n << 63n) || value >= 1n << 64n)
      throw new RangeError(`${value} does not fit into 64 bits`);
    view.setBigUint64(offset, BigInt.asUintN(64, value), LITTLE_ENDIAN);
  },
};

/** A pointer, or an address passed as `__u64`. */
export const address: Field<bigint> = { ...u64, meaning: 'address' };

/** A file descriptor as `__s32`; -1 for none. */
export const fd: Field<number> = { ...s32, meaning: 'fd' };

/** The size of the whole argument in bytes; {@link Struct.encode} fills it in when it is left out. */
export const argsz: Field<number> = { ...u32, meaning: 'argsz' };

/** The same field as a set of the named flag bits. */
export function flags<T>(field: Field<T>, names: Names): Field<T> {
  return { ...field, flags: names };
}

/** The same field as one of the named values. */
export function oneOf<T>(field: Field<T>, names: Names): Field<T> {
  return { ...field, values: names };
}

/** The same field as a member of an anonymous union with the earlier field `name`. */
export function overlaying<T>(name: string, field: Field<T>): Field<T> {
  return { ...field, overlays: name };
}

/** `__u8 name[length]`, as a Buffer of its own. */
export function bytes(length: number): Field<Buffer> {
  return {
    size: length,
    align: 1,
    element: u8,
    read: (view, offset) => Buffer.from(viewToBuffer(view).subarray(offset, offset + length)),
    write: (view, offset, value) => {
      if (value.length > length)
        throw new RangeError(`${value.length} bytes do not fit into ${length}`);
      viewToBuffer(view).set(value, offset);
    },
  };
}

type Declared = Readonly<Record<string, unknown>>;
type ValueOf<F> = F extends { read(view: DataView, offset: number): infer T } ? T : never;
/** The values of a struct with these fields. */
export type ValuesOf<Fields> = { -readonly [K in keyof Fields]: ValueOf<Fields[K]> };

/** What follows the fixed part: a flexible array, whose kind of element may depend on the fixed part. */
export interface Tail<T> {
  readonly name: string;
  /** The element as the header declares it. */
  readonly element: Field<unknown>;
  /** What the bytes mean for these values, and how many elements there are (default: as many as fit). */
  meaning?(values: T): { element: Field<unknown>; count?: number } | undefined;
}

/** A struct of the kernel's ABI under its own name. */
export class Struct<T> implements Field<T> {
  readonly name: string;
  readonly fields: ReadonlyMap<string, { readonly offset: number; readonly field: Field<unknown> }>;
  /** `sizeof`; a flexible array at the end counts nothing. */
  readonly size: number;
  readonly align: number;
  readonly tail: Tail<T> | undefined;
  readonly #tailOffset: number;

  constructor(name: string, declared: Declared, tail?: Tail<T>) {
    const fields = new Map<string, { offset: number; field: Field<unknown> }>();
    let end = 0;
    let align = 1;
    for (const [key, value] of Object.entries(declared)) {
      const field = value as Field<unknown>;
      const overlaid = field.overlays === undefined ? undefined : fields.get(field.overlays);
      if (field.overlays !== undefined && !overlaid)
        throw new Error(`${name}.${key} overlays ${field.overlays}, which is not before it`);
      const offset = overlaid ? overlaid.offset : alignUp(end, field.align);
      fields.set(key, { offset, field });
      end = Math.max(end, offset + field.size);
      align = Math.max(align, field.align);
    }
    if (tail) align = Math.max(align, tail.element.align);
    this.name = name;
    this.fields = fields;
    this.align = align;
    this.size = alignUp(end, align);
    this.tail = tail;
    this.#tailOffset = tail ? alignUp(end, tail.element.align) : this.size;
  }

  /** Offset in bytes of a field or of the flexible array at the end. */
  offsetof(field: (keyof T & string) | (string & {})): number {
    if (field === this.tail?.name) return this.#tailOffset;
    const found = this.fields.get(field);
    if (!found) throw new Error(`struct ${this.name} has no field ${field}`);
    return found.offset;
  }

  /** Offset of what follows the fields: of the flexible array, or the struct's size. */
  get tailOffset(): number {
    return this.#tailOffset;
  }

  /**
   * A new Buffer with these values; fields left out are 0, `argsz` (iommufd: `size`) is the
   * Buffer's size. `totalSize` in bytes leaves room for what follows the struct, or cuts it short.
   */
  encode(values: Partial<T> = {}, totalSize: number = this.size): Buffer {
    const whole = Buffer.alloc(Math.max(totalSize, this.size));
    const view = viewOf(whole);
    for (const { offset, field } of this.fields.values())
      if (field.meaning === 'argsz') field.write(view, offset, totalSize);
    this.write(view, 0, values);
    return whole.subarray(0, totalSize);
  }

  /** The values at `offset` in a Buffer; fields beyond its end are 0. */
  decode(buffer: Uint8Array, offset = 0): T {
    let source = buffer.subarray(offset, offset + this.size);
    if (source.length < this.size) {
      const padded = new Uint8Array(this.size);
      padded.set(source);
      source = padded;
    }
    return this.read(viewOf(source), 0);
  }

  read(view: DataView, offset: number): T {
    const values: Record<string, unknown> = {};
    for (const [key, at] of this.fields) values[key] = at.field.read(view, offset + at.offset);
    return values as T;
  }

  /** Writes those fields which are given, and leaves the others as they are. */
  write(view: DataView, offset: number, values: Partial<T>): void {
    for (const [key, value] of Object.entries(values)) {
      if (value === undefined) continue;
      const at = this.fields.get(key);
      if (!at) throw new Error(`struct ${this.name} has no field ${key}`);
      at.field.write(view, offset + at.offset, value);
    }
  }

  toString(): string {
    return `struct ${this.name}`;
  }
}

/** Declares a struct: its fields in the header's order, and the flexible array at its end, if any. */
export function struct<const Fields extends Record<string, Field<unknown>>>(
  name: string,
  fields: Fields,
  tail?: Tail<ValuesOf<Fields>>,
): Struct<ValuesOf<Fields>> {
  return new Struct<ValuesOf<Fields>>(name, fields, tail);
}

function alignUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}

function viewOf(buffer: Uint8Array): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function viewToBuffer(view: DataView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}
