/** One call as text. */
import { signed, valueOf, type Call } from '../call.ts';
import { signatureOf } from '../signature.ts';
import type { Tracker } from '../tracker.ts';
import { resultText } from './answer.ts';
import { argumentOf } from './arguments.ts';
import { addressArgument, fdText, regionText } from './labels.ts';
import { hex } from './values.ts';

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

function positionedText(call: Call, tracker: Tracker): string {
  const number = signed(valueOf(call, 0));
  const open = tracker.fd(call.process, number);
  const position = valueOf(call, 3);
  const place = open?.kind === 'device' ? regionText(position, open) : hex(position);
  const { params } = signatureOf(call.op.name);
  const data = argumentOf(call, 1, params[1], tracker);
  return `${call.op.name}(${fdText(number, open)}, ${data}, ${call.values[2]}, ${place})`;
}
