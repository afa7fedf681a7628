/** In which order the runs are made, and by whom: by the program itself, its threads, other processes. */
import { ERRNO } from '../../abi/errno.ts';
import { signed, type Call } from '../call.ts';
import { signatureOf } from '../signature.ts';
import { meaningOffsets } from '../meaning-offsets.ts';
import { Tracker } from '../tracker.ts';
import { reports } from './answers.ts';
import { initialData, pieces } from './data.ts';
import { originExpression } from './numbers.ts';
import { spanOf } from './recording.ts';
import { renderCalls } from './statements.ts';
import type { Writer } from './writer.ts';

/** The runs by the time at which they began; threads that began together are one item. */
function itemsOf(writer: Writer): Item[] {
  const items: Item[] = [];
  let before = 0n;
  writer.recording.runs.forEach((run, position) => {
    const { start = before, end = before } = spanOf(writer.recording.calls[position] ?? []);
    const kind = run.where.split(' ')[0] as 'here' | 'thread' | 'process';
    const previous = items.at(-1);
    const number = (where: string) => Number(where.split(' ')[1]);
    const last = writer.recording.runs[position - 1]?.where ?? '';
    if (kind === 'thread' && previous?.kind === 'thread' && number(run.where) > number(last)) {
      previous.positions.push(position);
      if (start < previous.start) previous.start = start;
      if (end > previous.end) previous.end = end;
    } else {
      items.push({ kind, where: run.where, positions: [position], start, end });
    }
    if (kind === 'here') before = end;
  });
  return items
    .map((item, order) => ({ item, order }))
    .sort((a, b) => Number(a.item.start - b.item.start) || a.order - b.order)
    .map(({ item }) => item);
}

export function bodyStatements(writer: Writer): string[] {
  const tracker = new Tracker();
  const items = itemsOf(writer);
  const hasActors = items.some(({ kind }) => kind === 'process');
  /** What was open before each item: where a process began is worked out later. */
  const before: Tracker[] = [];
  const texts: string[][] = [];
  /** Where processes begin: texts to be put in front of an item. */
  const spawns = new Map<number, string[]>();
  /** Runs of other processes that are under way. */
  const running = new Map<number, Item>();
  const join = (actor: number, item: Item) => {
    running.delete(actor);
    return [`	actor_join(${actor});`, ...item.positions.flatMap((run) => reports(writer, run))];
  };

  items.forEach((item, index) => {
    if (hasActors) before.push(tracker.snapshot());
    const lines: string[] = [];
    for (const [actor, other] of running)
      if (other.end <= item.start || other.where === item.where) lines.push(...join(actor, other));
    const [position = 0] = item.positions;
    if (item.kind === 'process') {
      const actor = actorNumber(writer, item, index, items, before, tracker, spawns);
      writer.functions.push(
        `static void run_${position}(void)`,
        '{',
        ...renderCalls(writer, position, tracker),
        '}',
        '',
      );
      lines.push(`	actor_start(${actor}, ${writer.actorRuns.length});`);
      writer.actorRuns.push(position);
      running.set(actor, item);
    } else if (item.kind === 'thread') {
      lines.push(...renderThreads(writer, item, tracker));
    } else {
      lines.push(...renderCalls(writer, position, tracker), ...reports(writer, position));
    }
    for (const run of item.positions)
      for (const call of writer.recording.calls[run] ?? []) tracker.apply(call);
    texts.push(lines);
  });
  const last = [...running].flatMap(([actor, item]) => join(actor, item));
  return [
    ...texts.flatMap((lines, index) => [...(spawns.get(index) ?? []), ...lines, '']),
    ...last,
  ];
}

function renderThreads(writer: Writer, item: Item, state: Tracker): string[] {
  writer.used.add('threads');
  for (const position of item.positions)
    writer.functions.push(
      `static void *run_${position}(void *unused)`,
      '{',
      '	(void)unused;',
      ...initialData(writer, position, state),
      '	pthread_barrier_wait(&start);',
      ...renderCalls(writer, position, state, false),
      '	return NULL;',
      '}',
      '',
    );
  const names = item.positions.map((position) => `run_${position}`).join(', ');
  return [
    `	run_threads((void *(*const[])(void *)){ ${names} }, ${item.positions.length});`,
    ...item.positions.flatMap((position) => reports(writer, position)),
  ];
}

/** The number of the process; spawns it where all fds that it uses from the beginning were open. */
function actorNumber(
  writer: Writer,
  item: Item,
  index: number,
  items: readonly Item[],
  before: readonly Tracker[],
  tracker: Tracker,
  spawns: Map<number, string[]>,
): number {
  const known = writer.actors.indexOf(item.where);
  if (known >= 0) return known;
  writer.used.add('actors');
  writer.notes.add(
    'Calls of other processes (an Actor) are made by this program executed anew. The user, limits ' +
      'and capabilities which that process may have been given are not recorded, nor is its end.',
  );
  const inherited = inheritedFds(
    writer,
    items.filter(({ where }) => where === item.where),
  );
  const openAt = (place: number) =>
    inherited.every((fd) => before[place]?.fd('here', fd) !== undefined);
  let place = index;
  while (place > 0 && !openAt(place)) place--;
  if (!openAt(place)) place = index;
  const state = before[place] ?? tracker;
  tracker.begin(item.where, state);
  const number = writer.actors.push(item.where) - 1;
  const keep = inherited.map((fd) => {
    const open = state.fd('here', fd);
    return open ? `(int)${originExpression(writer, open.origin)}` : String(fd);
  });
  // Two places more: for the actor's channel and the state they share.
  spawns.set(place, [
    ...(spawns.get(place) ?? []),
    `	actor_spawn(${number}, (int[]){ ${[...keep, '-1', '-1'].join(', ')} }, ${keep.length}); /* ${item.where} */`,
  ]);
  return number;
}

/** Numbers of fds that a process uses without having opened them. */
function inheritedFds(writer: Writer, items: readonly Item[]): number[] {
  const own = new Tracker();
  const [where = ''] = items.map((item) => item.where);
  own.begin(where, new Tracker());
  const inherited = new Set<number>();
  for (const call of items.flatMap(({ positions }) =>
    positions.flatMap((position) => writer.recording.calls[position] ?? []),
  )) {
    // It had none of the fds for which it was told EBADF, but for what other calls show.
    if (call.op.result !== BigInt(-ERRNO.EBADF))
      for (const fd of literalFds(writer, call))
        if (fd > 2 && !own.fd(where, fd)) inherited.add(fd);
    own.apply(call);
  }
  return [...inherited].sort((a, b) => a - b);
}

/** All numbers that a call takes for fds, in its arguments and in its data. */
function literalFds(writer: Writer, call: Call): number[] {
  const { params } = signatureOf(call.op.name);
  const direct = call.op.args.flatMap((arg, index) =>
    arg.kind === 'immediate' && ['fd', 'dirfd'].includes(params[index]?.kind ?? '')
      ? [signed(arg.value)]
      : [],
  );
  const inData = call.op.args.flatMap((_, index) =>
    pieces(writer, call, index).flatMap(({ offset, layout, length }) => {
      const bytes = call.before.subarray(offset, offset + length);
      if (layout === 'fd') return bytes.length >= 4 ? [bytes.readInt32LE(0)] : [];
      if (layout === undefined) return [];
      return meaningOffsets(layout, bytes, 'fd').map((at) => bytes.readInt32LE(at));
    }),
  );
  return [...direct, ...inData].filter((fd) => fd >= 0);
}

/** Runs that were executed together: by the process itself, by its threads, by another process. */
interface Item {
  kind: 'here' | 'thread' | 'process';
  where: string;
  positions: number[];
  start: bigint;
  end: bigint;
}
