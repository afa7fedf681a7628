import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  address,
  argsz,
  bytes,
  fd,
  flags,
  overlaying,
  struct,
  u16,
  u32,
  u8,
  type Struct,
} from './struct.ts';
import * as vfio from './vfio.ts';

const sample = struct(
  'sample',
  { argsz, flags: flags(u32, { A: 1 }), small: u8, medium: u16, fd, where: address, id: bytes(3) },
  { name: 'data', element: u32 },
);

test('fields are laid out with natural alignment', () => {
  expect(
    ['argsz', 'flags', 'small', 'medium', 'fd', 'where', 'id', 'data'].map((f) =>
      sample.offsetof(f),
    ),
  ).toEqual([0, 4, 8, 10, 12, 16, 24, 28]);
  expect(sample.size).toBe(32);
  expect(sample.align).toBe(8);
});

test('what is left out is zero, argsz is the size of the Buffer', () => {
  const buffer = sample.encode({ fd: -1 }, 64);
  expect(buffer.length).toBe(64);
  expect(sample.decode(buffer)).toEqual({
    argsz: 64,
    flags: 0,
    small: 0,
    medium: 0,
    fd: -1,
    where: 0n,
    id: Buffer.alloc(3),
  });
});

test('an argsz that is given is kept, also a wrong one', () => {
  expect(sample.decode(sample.encode({ argsz: 4 })).argsz).toBe(4);
});

test('a Buffer may be shorter than the struct', () => {
  const buffer = sample.encode({ flags: 7, where: 5n }, 12);
  expect(buffer.length).toBe(12);
  expect(sample.decode(buffer)).toMatchObject({ argsz: 12, flags: 7, where: 0n });
});

test('a value that does not fit is refused', () => {
  expect(() => sample.encode({ small: 256 })).toThrow(RangeError);
  expect(() => sample.encode({ flags: 2 ** 32 })).toThrow(RangeError);
  expect(() => sample.encode({ where: 1n << 64n })).toThrow(RangeError);
  expect(() => sample.encode({ id: Buffer.alloc(4) })).toThrow(RangeError);
});

test('a negative number is the bit pattern it has in C', () => {
  expect(sample.decode(sample.encode({ flags: -1, where: -1n }))).toMatchObject({
    flags: 0xffffffff,
    where: 0xffffffffffffffffn,
  });
});

test('the members of a union share their place', () => {
  const union = struct('union', { group_id: u32, devid: overlaying('group_id', u32), bus: u8 });
  expect(union.size).toBe(8);
  expect(union.decode(union.encode({ devid: 9 }))).toEqual({ group_id: 9, devid: 9, bus: 0 });
});

test('a field that does not exist is an error', () => {
  expect(() => sample.offsetof('nonsense')).toThrow(/no field nonsense/);
});

/** Random values for every field of a struct. */
function valuesOf(layout: Struct<unknown>): fc.Arbitrary<Record<string, unknown>> {
  const fields: Record<string, fc.Arbitrary<unknown>> = {};
  for (const [name, { field }] of layout.fields) {
    if (field.overlays !== undefined) continue;
    if ('fields' in field) fields[name] = valuesOf(field as Struct<unknown>);
    else if (field.element)
      fields[name] = fc
        .uint8Array({ minLength: field.size, maxLength: field.size })
        .map((b) => Buffer.from(b));
    else if (field.size === 8) fields[name] = fc.bigInt(0n, (1n << 64n) - 1n);
    else if (field.meaning === 'fd')
      fields[name] = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    else fields[name] = fc.integer({ min: 0, max: 2 ** (8 * field.size) - 1 });
  }
  return fc.record(fields);
}

const structs = Object.values(vfio as Record<string, unknown>).filter(
  (item): item is Struct<unknown> => item instanceof vfio.vfio_irq_set.constructor,
);

test.each(structs.map((layout) => [layout.name, layout] as const))(
  'struct %s: decode gives back what encode was given, wherever it lies',
  (_name, layout) => {
    fc.assert(
      fc.property(valuesOf(layout), fc.nat(32), (values, offset) => {
        const buffer = Buffer.concat([Buffer.alloc(offset, 0xaa), layout.encode(values as object)]);
        expect(layout.decode(buffer, offset)).toMatchObject(values);
      }),
      { numRuns: 25 },
    );
  },
);

test('values are typed after their fields', () => {
  const map = vfio.vfio_iommu_type1_dma_map.decode(Buffer.alloc(32));
  const iova: bigint = map.iova;
  const flags: number = map.flags;
  expect([iova, flags]).toEqual([0n, 0]);
  // @ts-expect-error: a 64-bit field takes a bigint
  expect(() => vfio.vfio_iommu_type1_dma_map.encode({ iova: 1 })).toThrow();
  // @ts-expect-error: no such field
  expect(() => vfio.vfio_iommu_type1_dma_map.encode({ vadr: 1n })).toThrow(/no field vadr/);
});

test('what follows a struct depends on its values', () => {
  const { tail } = vfio.vfio_irq_set;
  const values = vfio.vfio_irq_set.decode(Buffer.alloc(20));
  const eventfds = { ...values, flags: vfio.VFIO_IRQ_SET_DATA_EVENTFD, count: 3 };
  expect(tail?.meaning?.(eventfds)).toEqual({ element: fd, count: 3 });
  expect(tail?.meaning?.({ ...values, flags: vfio.VFIO_IRQ_SET_DATA_NONE })).toBeUndefined();
});
