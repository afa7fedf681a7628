/** Number and argument of an ioctl as text. */
import type { Ioctl } from '../../abi/ioctl.ts';
import type { Struct } from '../../abi/struct.ts';
import { vfio_info_cap_header } from '../../abi/vfio.ts';
import { argumentArea, inputKnown, outputKnown, type Area } from '../arena-use.ts';
import { requestOf, signed, stringAt, valueOf, type Call } from '../call.ts';
import { likelyIoctl, meaningsOf } from '../ioctls.ts';
import type { Tracker } from '../tracker.ts';
import { givenAndChanged } from './given-and-changed.ts';
import { addressText, fdText, labelsFor } from './labels.ts';
import { argumentText, type Labels } from './structs.ts';
import { byteText, hex, valueName } from './values.ts';

export function requestText(call: Call, tracker: Tracker): string {
  const ioctl = tracker.ioctlOf(call);
  if (ioctl) return ioctl.name;
  const request = requestOf(call);
  const others = meaningsOf(request).map(({ name, fd }) => `${name} of ${fd}`);
  return others.length > 0 ? `${hex(request)} /* ${others.join(', ')} */` : hex(request);
}

export function ioctlArgument(call: Call, tracker: Tracker): string {
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

function structArgument(call: Call, ioctl: Ioctl, area: Area, tracker: Tracker): string {
  const layout = ioctl.struct as Struct<unknown>;
  const text = givenAndChanged(call, layout, area, tracker);
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
