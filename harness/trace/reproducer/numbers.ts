/** Numbers as expressions of C: those that an earlier call returned are taken from there. */
import { _IO } from '../../abi/ioc.ts';
import type { Ioctl } from '../../abi/ioctl.ts';
import { requestOf, signed, type Call } from '../call.ts';
import { hex } from '../text/values.ts';
import { signatureOf } from '../signature.ts';
import type { Origin } from '../process-state.ts';
import type { Tracker } from '../tracker.ts';
import { literal } from './c-text.ts';
import type { Writer } from './writer.ts';

export function originExpression(writer: Writer, origin: Origin): string {
  if (origin.kind === 'result') return `s->r[${writer.recording.at(origin.run, origin.index)}]`;
  writer.used.add('fdAt');
  return `fd_at(s->a${origin.run} + ${hex(origin.offset)})`;
}

export function fdExpression(writer: Writer, process: string, fd: number, state: Tracker): string {
  if (fd < 0) return literal(BigInt(fd));
  const known =
    state.fd(process, fd) ??
    state.closedFd(process, fd) ??
    // Numbers of another process's fds, as pidfd_getfd takes them.
    state.fd('here', fd);
  return known ? originExpression(writer, known.origin) : String(fd);
}

export function addressExpression(
  writer: Writer,
  process: string,
  address: bigint,
  state: Tracker,
): string {
  const mapping = state.mapping(process, address) ?? state.formerMapping(process, address);
  if (!mapping) return literal(address);
  const offset = mapping.delta + (address - mapping.start);
  const origin = originExpression(writer, mapping.origin);
  return offset === 0n ? origin : `${origin} + ${hex(offset)}`;
}

function pidExpression(writer: Writer, pid: number, state: Tracker): string {
  const child = state.children.get(pid);
  if (child) return originExpression(writer, child);
  const actor = writer.actors.indexOf(`process ${pid}`);
  if (actor >= 0) return `actors[${actor}].pid`;
  return String(pid);
}

/** An argument as an expression of C. */
export function argumentExpression(
  writer: Writer,
  call: Call,
  index: number,
  state: Tracker,
): string {
  const arg = call.op.args[index];
  if (!arg) return '0';
  if (arg.kind === 'arena') return `P(s->a${call.run} + ${hex(arg.offset)})`;
  if (arg.kind === 'reference') {
    const source = writer.recording.n(call, arg.op);
    const isLoad = call.siblings[arg.op]?.op.name === 'load';
    const value = `s->${isLoad ? 'v' : 'r'}[${source}]`;
    if (arg.addend === 0n) return value;
    return `${value} ${arg.addend < 0n ? '-' : '+'} ${hex(arg.addend < 0n ? -arg.addend : arg.addend)}`;
  }
  const param = signatureOf(call.op.name).params[index];
  switch (param?.kind) {
    case 'fd':
    case 'dirfd':
      return fdExpression(writer, call.process, signed(arg.value), state);
    case 'address':
      return addressExpression(writer, call.process, arg.value, state);
    case 'pid':
      return signed(arg.value) > 0
        ? pidExpression(writer, signed(arg.value), state)
        : literal(arg.value);
    case 'ioctl-argument':
    case 'in':
    case 'out':
    case 'record':
    case 'array':
      // An address given as a number: memory of an earlier mapping, or nonsense on purpose.
      return addressExpression(writer, call.process, arg.value, state);
    default:
      break;
  }
  if (call.op.name === 'ioctl' && index === 1)
    return requestLiteral(call, writer.recording.ioctl(call));
  return literal(arg.value, ['int', 'unsigned', 'width'].includes(param?.kind ?? ''));
}

/** `_IO(';', 113)` where the number is one, so that it is right on all architectures. */
function requestLiteral(call: Call, ioctl: Ioctl | undefined): string {
  const request = requestOf(call);
  const type = (request >>> 8) & 0xff;
  const nr = request & 0xff;
  const name = ioctl ? ` /* ${ioctl.name} */` : '';
  const letter = String.fromCharCode(type);
  const isPlain =
    request === _IO(type, nr) && type > 0x20 && type < 0x7f && !"'\\".includes(letter);
  return isPlain ? `_IO('${letter}', ${nr})${name}` : `${hex(request)}U${name}`;
}
