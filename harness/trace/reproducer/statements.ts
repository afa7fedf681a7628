/** The calls of a run as statements of C. */
import { valueOf, type Call } from '../call.ts';
import type { Tracker } from '../tracker.ts';
import { isAlone, nameStatement } from './answers.ts';
import { commentSafe, literal } from './c-text.ts';
import { initialData } from './data.ts';
import { childLength, loopsOf } from './loops.ts';
import { argumentExpression } from './numbers.ts';
import type { PartName } from './runtime.ts';
import type { Writer } from './writer.ts';

/** System calls which have another name in <sys/syscall.h>. */
const SYSCALL_NAMES: Readonly<Record<string, string>> = { pread: 'pread64', pwrite: 'pwrite64' };

/** Numbers of calls that older headers do not know; the same on all architectures. */
export const NEW_SYSCALLS: Readonly<Record<string, number>> = {
  pidfd_send_signal: 424,
  io_uring_setup: 425,
  io_uring_register: 427,
  pidfd_open: 434,
  close_range: 436,
  pidfd_getfd: 438,
  process_madvise: 440,
  memfd_secret: 447,
  mseal: 462,
};

/** The statements of a run: its data (unless they are set up elsewhere), then its calls. */
export function renderCalls(
  writer: Writer,
  position: number,
  state: Tracker,
  withData = true,
): string[] {
  const calls = writer.recording.calls[position] ?? [];
  const data = withData ? initialData(writer, position, state) : [];
  const lines = range(writer, calls, 0, calls.length, state);
  if (lines.some((line) => line.includes(`goto end_${position};`)))
    lines.push(`end_${position}:`, '	;');
  return [...data, ...lines];
}

/** The calls from index `from` up to `end`, with the loops among them. */
function range(
  writer: Writer,
  calls: readonly Call[],
  from: number,
  end: number,
  state: Tracker,
): string[] {
  const { recording } = writer;
  const lines: string[] = [];
  const loops = loopsOf(calls, from, end);
  for (let index = from; index < end; index++) {
    const call = calls[index];
    if (!call) break;
    const n = recording.n(call);
    const beginning = loops.filter((loop) => loop.from === index).sort((a, b) => b.at - a.at);
    for (const { at } of beginning) {
      const pass = `pass_${recording.n(call, at)}`;
      lines.push(`	for (long long ${pass} = 1;; ${pass}++) {`);
    }
    const ending = loops.some(({ at }) => at === index);
    lines.push(...statement(writer, call, calls, state, ending));
    if (call.op.name === 'fork') index += childLength(call);
    if (call.op.stop)
      lines.push(
        `	if (s->r[${n}] < 0)`,
        call.process.startsWith('child') ? '		_exit(1);' : `		goto end_${call.run};`,
      );
    // In all passes but the first, the first failure ends the loop.
    const inner = loops.filter((loop) => loop.from <= index && index < loop.at).at(-1);
    if (inner)
      lines.push(`	if (pass_${recording.n(call, inner.at)} > 1 && s->r[${n}] < 0)`, '		break;');
  }
  return lines;
}

/** One call. @param endsLoop it is a repeat whose loop was opened */
function statement(
  writer: Writer,
  call: Call,
  calls: readonly Call[],
  state: Tracker,
  endsLoop: boolean,
): string[] {
  const { op } = call;
  const n = writer.recording.n(call);
  const argument = (index: number) => argumentExpression(writer, call, index, state);
  const comment = isAlone(call)
    ? nameStatement(writer, call)
    : `	/* [${n}] ${commentSafe(writer.recording.line(call))} */`;
  const assign = (part: PartName, expression: string) => {
    writer.used.add(part);
    return [comment, `	s->r[${n}] = ${expression};`];
  };
  const guarded = (part: PartName, expression: string) => {
    writer.used.add(part);
    return [comment, `	GUARDED(${n}, ${expression});`];
  };
  switch (op.name) {
    case 'load':
      return guarded('load', `load(${argument(1)}, ${argument(0)}, &s->v[${n}])`);
    case 'store':
      return guarded('store', `store(${argument(1)}, ${argument(0)}, ${argument(2)})`);
    case 'copy':
      return guarded('copy', `copy(${[0, 1, 2].map(argument).join(', ')})`);
    case 'fill':
      return guarded('fill', `fill(${[0, 1, 2, 3].map(argument).join(', ')})`);
    case 'verify':
      return guarded('verify', `verify(${[0, 1, 2, 3].map(argument).join(', ')})`);
    case 'wait':
      return guarded(
        'wait',
        `wait_for(${argument(1)}, ${argument(0)}, ${[2, 3, 4].map(argument).join(', ')}, &s->v[${n}])`,
      );
    case 'poll':
      return assign('poll', `poll_fds(${argument(0)}, ${argument(1)}, (int)${argument(2)})`);
    case 'clock':
      return assign('now', 'now()');
    case 'spin':
      return assign('spin', `spin(${argument(0)})`);
    case 'align':
      return assign('align', `align(${argument(0)}, ${argument(1)})`);
    // What a call cost is no part of what it did.
    case 'sample':
    case 'yield':
      return [comment, `	s->r[${n}] = 0;`];
    case 'ioctls':
      writer.notes.add('Calls of a list are not repeated: the record has not kept what is in it.');
      return [comment, `	s->r[${n}] = 0;`];
    case 'fork':
      return forkStatement(writer, call, calls, state, comment);
    case 'repeat':
      return repeatStatement(writer, call, endsLoop, comment);
    default:
      break;
  }
  const name = SYSCALL_NAMES[op.name] ?? op.name;
  if (op.name in NEW_SYSCALLS) writer.newSyscalls.add(op.name);
  const args = [0, 1, 2, 3, 4, 5].map((index) => argument(index));
  writer.used.add('call');
  return [comment, `	call(${n}, SYS_${name}, ${args.join(', ')});`];
}

function forkStatement(
  writer: Writer,
  call: Call,
  calls: readonly Call[],
  state: Tracker,
  comment: string,
): string[] {
  const n = writer.recording.n(call);
  const first = call.index + 1;
  return [
    comment,
    '	{',
    '		pid_t pid = fork();',
    '',
    '		if (pid == 0) {',
    ...range(writer, calls, first, first + childLength(call), state).map((line) => `		${line}`),
    '			_exit(0);',
    '		}',
    `		s->r[${n}] = pid < 0 ? -errno : pid;`,
    '	}',
  ];
}

function repeatStatement(writer: Writer, call: Call, endsLoop: boolean, comment: string): string[] {
  const n = writer.recording.n(call);
  const from = Number(valueOf(call, 0));
  if (!endsLoop) {
    writer.notes.add('A loop that overlaps with another one is not repeated: see the comments.');
    return [comment, '	/* not repeated: this loop overlaps with another one */', `	s->r[${n}] = 0;`];
  }
  writer.used.add('failure');
  return [
    comment,
    `	s->r[${n}] = first_failure(${writer.recording.n(call, from)}, ${n});`,
    `	if (s->r[${n}] < 0 || pass_${n} >= ${literal(valueOf(call, 1))})`,
    '		break;',
    '	}',
    `	s->r[${n}] = first_failure(${writer.recording.n(call, from)}, ${n});`,
  ];
}
