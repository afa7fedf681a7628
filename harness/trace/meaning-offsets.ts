/** Where an ioctl's argument holds fds and addresses. */
import type { Struct } from '../abi/struct.ts';

/**
 * Offsets of the fields of a meaning in an argument that begins with this struct, and behind it;
 * only those that lie within `bytes`.
 */
export function meaningOffsets(
  layout: Struct<unknown>,
  bytes: Buffer,
  meaning: 'fd' | 'address',
): number[] {
  const offsets: number[] = [];
  const visit = (struct: Struct<unknown>, base: number) => {
    for (const { offset, field } of struct.fields.values()) {
      if ('fields' in field) visit(field as Struct<unknown>, base + offset);
      else if (field.meaning === meaning && base + offset + field.size <= bytes.length)
        offsets.push(base + offset);
    }
    const tail = struct.tail?.meaning?.(struct.decode(bytes, base));
    if (!tail) return;
    const { element, count = 0 } = tail;
    for (
      let i = 0, at = base + struct.tailOffset;
      i < count && at + element.size <= bytes.length;
      i++
    ) {
      if ('fields' in element) visit(element as Struct<unknown>, at);
      else if (element.meaning === meaning) offsets.push(at);
      at += element.size;
    }
  };
  visit(layout, 0);
  return offsets;
}
