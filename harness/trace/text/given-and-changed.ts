/** Structs in the arena as text: as they were given, and what the call changed. */
import type { Struct } from '../../abi/struct.ts';
import { inputKnown, outputKnown, type Area } from '../arena-use.ts';
import { reached, type Call } from '../call.ts';
import type { Tracker } from '../tracker.ts';
import { labelsFor } from './labels.ts';
import { argumentText, changesText } from './structs.ts';
import { hex } from './values.ts';

/** A struct as it was given, and behind `=>` what the call changed in it. */
export function givenAndChanged(
  call: Call,
  layout: Struct<unknown>,
  area: Area,
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
