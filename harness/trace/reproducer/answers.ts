/** Statements that print the answers beside the recorded ones, and decide. */
import { argumentArea, outputKnown } from '../arena-use.ts';
import { reached, unfinished, type Call } from '../call.ts';
import { hex } from '../text/values.ts';
import { signatureOf } from '../signature.ts';
import { meaningOffsets } from '../meaning-offsets.ts';
import { cString, literal, resultLiteral } from './c-text.ts';
import { pieces } from './data.ts';
import { exits } from './recording.ts';
import type { Writer } from './writer.ts';

/** Statements which print the answers of a run beside the recorded ones. */
export function reports(writer: Writer, position: number): string[] {
  return (writer.recording.calls[position] ?? []).flatMap((call) => {
    const decisive = call === writer.recording.decisive;
    const { op } = call;
    if (!reached(call) || exits(call)) return [];
    const n = writer.recording.n(call);
    const kind = signatureOf(op.name).result;
    const opened = kind !== 'int' || writer.recording.ioctl(call)?.returns !== undefined;
    const recorded = unfinished(call) ? 'NOT_REACHED' : resultLiteral(op.result);
    const prefix = decisive ? '	happens = ' : '	';
    const lines = isAlone(call) ? [] : [nameStatement(writer, call)];
    if (op.name === 'load' || op.name === 'wait') {
      writer.used.add('reportLoad');
      return [...lines, `${prefix}report_load(${n}, ${recorded}, ${literal(op.value)});`];
    }
    writer.used.add('report');
    lines.push(`${prefix}report(${n}, ${opened ? 1 : 0}, ${recorded});`);
    if (decisive) lines.push(...comparisons(writer, call));
    return lines;
  });
}

/** The only call of a run of this process: it is named before it is made, the others after it. */
export function isAlone(call: Call): boolean {
  return call.siblings.length === 1 && call.place === '';
}

export function nameStatement(writer: Writer, call: Call): string {
  writer.used.add('report');
  return `	name(${writer.recording.n(call)}, ${cString(writer.recording.text(call))});`;
}

/** Of the deciding call, also the bytes that the kernel wrote must be the same. */
function comparisons(writer: Writer, call: Call): string[] {
  if (call.op.result < 0n) return [];
  const lines: string[] = [];
  const compare = (offset: number, length: number) => {
    if (length <= 0) return;
    writer.used.add('sameBytes');
    const bytes = [...call.after.subarray(offset, offset + length)].join(', ');
    lines.push(
      `	happens &= same_bytes(s->a${call.run} + ${hex(offset)}, (const unsigned char[]){ ${bytes} }, ${length});`,
    );
  };
  call.op.args.forEach((_, index) => {
    const area = argumentArea(call, index);
    const param = signatureOf(call.op.name).params[index];
    if (!area || !outputKnown(call, area)) return;
    if (param?.kind === 'out') compare(area.offset, Number(call.op.result));
    for (const { offset, length, layout } of pieces(writer, call, index)) {
      if (layout === undefined || layout === 'fd') continue;
      // Numbers of fds and addresses differ from run to run.
      const bytes = call.after.subarray(offset, offset + length);
      const skipped = [
        ...meaningOffsets(layout, bytes, 'fd').map((at) => ({ at, size: 4 })),
        ...meaningOffsets(layout, bytes, 'address').map((at) => ({ at, size: 8 })),
      ].sort((a, b) => a.at - b.at);
      let from = 0;
      for (const { at, size } of [...skipped, { at: length, size: 0 }]) {
        compare(offset + from, at - from);
        from = at + size;
      }
    }
  });
  return lines;
}
