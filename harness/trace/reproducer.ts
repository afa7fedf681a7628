/**
 * Recorded runs as one standalone C program which makes the same calls: numbers that an earlier
 * call returned (fds, addresses, pids) are taken from that call when the program runs.
 */
import { ERRNO, errnoName } from '../abi/errno.ts';
import { _IO } from '../abi/ioc.ts';
import type { Ioctl } from '../abi/ioctl.ts';
import type { Struct } from '../abi/struct.ts';
import type { RecordedRun } from '../shim/index.ts';
import { argumentArea, inputKnown, outputKnown } from './arena-use.ts';
import { callsOf, reached, timeline, unfinished, type Call } from './call.ts';
import { describeCall, callText } from './decode.ts';
import { fieldTextAt, hex } from './format.ts';
import { likelyIoctl } from './ioctls.ts';
import { needsGuard, partsFor, type PartName } from './reproducer-runtime.ts';
import { signatureOf } from './signature.ts';
import { meaningOffsets, requestOf, signed, stringAt, Tracker, type Origin } from './tracker.ts';

export interface ReproducerOptions {
  /** First line of the program's comment: which test, and what it promises. */
  title?: string;
  /**
   * When it failed, as process.hrtime.bigint() gives it (CLOCK_MONOTONIC in ns). Calls after that are
   * the tidying up: they are repeated, but the answer that decides is the last one before them.
   */
  failedAt?: bigint;
}

/** Bytes of one piece of data that are written out; what is behind them is left zero, and said so. */
const MAX_DATA = 4096;

/** System calls which have another name in <sys/syscall.h>. */
const SYSCALL_NAMES: Readonly<Record<string, string>> = { pread: 'pread64', pwrite: 'pwrite64' };

/** Numbers of calls that older headers do not know; the same on all architectures. */
const NEW_SYSCALLS: Readonly<Record<string, number>> = {
  pidfd_send_signal: 424,
  pidfd_open: 434,
  close_range: 436,
  pidfd_getfd: 438,
  process_madvise: 440,
  memfd_secret: 447,
  mseal: 462,
};

/** The program; an empty one if nothing was recorded. */
export function renderReproducer(
  runs: readonly RecordedRun[],
  options: ReproducerOptions = {},
): string {
  return new Reproducer(runs, options).render();
}

class Reproducer {
  readonly #runs: readonly RecordedRun[];
  readonly #options: ReproducerOptions;
  readonly #calls: Call[][];
  /** Number of the first call of each run: all calls of all runs are numbered through. */
  readonly #base: number[] = [];
  readonly #total: number;
  readonly #decisive: Call | undefined;
  readonly #used = new Set<PartName>();
  readonly #newSyscalls = new Set<string>();
  readonly #notes = new Set<string>();
  /** Functions that threads and other processes execute. */
  readonly #functions: string[] = [];
  readonly #actors: string[] = [];
  readonly #actorRuns: number[] = [];
  /** The number of the call of the recorded text, worked out in the order of time. */
  readonly #lines = new Map<Call, { line: string; text: string; ioctl: Ioctl | undefined }>();

  constructor(runs: readonly RecordedRun[], options: ReproducerOptions) {
    this.#runs = runs;
    this.#options = options;
    this.#calls = runs.map((run, position) => callsOf(run, position));
    let total = 0;
    for (const calls of this.#calls) {
      this.#base.push(total);
      total += calls.length;
    }
    this.#total = total;
    const tracker = new Tracker();
    let decisive: Call | undefined;
    for (const { run, index } of timeline(runs)) {
      const call = this.#calls[run]?.[index];
      if (!call) continue;
      this.#lines.set(call, {
        line: describeCall(call, tracker),
        text: callText(call, tracker),
        ioctl: call.op.name === 'ioctl' ? tracker.ioctlOf(call) : undefined,
      });
      tracker.apply(call);
      const ended = options.failedAt !== undefined && call.op.start > options.failedAt;
      const exits = call.op.name === 'exit' || call.op.name === 'exit_group';
      if (!ended && reached(call) && !exits) decisive = call;
    }
    this.#decisive = decisive;
    if (decisive && unfinished(decisive))
      this.#notes.add(
        'The deciding call never ended when this was recorded. If it ends, that does not happen any more.',
      );
  }

  render(): string {
    const body = this.#body();
    const helpers = this.#helpers();
    const { code, includes } = partsFor(this.#used);
    const headers = [
      'errno.h',
      'signal.h',
      'stdio.h',
      'stdlib.h',
      'string.h',
      'linux/ioctl.h',
      'sys/mman.h',
      'unistd.h',
      ...includes,
    ];
    const newSyscalls = [...this.#newSyscalls].flatMap((name) => [
      `#ifndef SYS_${name}`,
      `#define SYS_${name} ${NEW_SYSCALLS[name]}`,
      '#endif',
    ]);
    return [
      this.#comment(),
      '#define _GNU_SOURCE',
      ...[...new Set(headers)].sort().map((name) => `#include <${name}>`),
      '',
      ...newSyscalls,
      ...(newSyscalls.length > 0 ? [''] : []),
      ...this.#state(),
      ...helpers,
      ...code.map((part) => part.trimStart() + '\n'),
      ...indent(this.#functions),
      ...indent(this.#main(body)),
      '',
    ].join('\n');
  }

  // --- the frame ----------------------------------------------------------------------------------

  #comment(): string {
    const names = new Set<string>();
    for (const [call, { ioctl }] of this.#lines) {
      const arg = call.op.args[2];
      if (ioctl?.name === 'VFIO_GROUP_GET_DEVICE_FD' && arg?.kind === 'arena')
        names.add(stringAt(call.before, arg.offset));
    }
    const lines = [
      this.#options.title ?? 'Recorded system calls',
      '',
      'Makes the recorded calls again and prints each answer beside the recorded one:',
      '    gcc -std=gnu11 -Wall -Wextra -pthread -o reproducer reproducer.c && ./reproducer',
      'Exit status 0: the deciding call answers as recorded, so it still happens; 1: it does not;',
      '2: the program could not do its work.',
    ];
    if (names.size > 0)
      lines.push(
        '',
        `Before: ${[...names].join(', ')} must be bound to vfio-pci (or another VFIO driver); names of`,
        'devices and groups are those of the machine where this was recorded.',
      );
    const dropped = (this.#runs.at(-1)?.run ?? -1) + 1 - this.#runs.length;
    if (dropped > 0)
      lines.push(
        '',
        `${dropped} runs in the middle were not recorded: this program is incomplete.`,
      );
    for (const note of this.#notes) lines.push('', note);
    return `/*\n${lines.map((line) => ` * ${commentSafe(line)}`.trimEnd()).join('\n')}\n */`;
  }

  #state(): string[] {
    const arenas = this.#runs.flatMap((run, position) =>
      run.arenaBefore.length === 0
        ? []
        : [`	unsigned char a${position}[${run.arenaBefore.length}] __attribute__((aligned(16)));`],
    );
    return [
      `#define CALLS ${Math.max(this.#total, 1)}`,
      '#define NOT_REACHED (-125LL)',
      '#define P(pointer) ((unsigned long)(pointer))',
      ...(this.#actors.length > 0 ? [`#define ACTORS ${this.#actors.length}`] : []),
      '',
      '/* Shared by all processes of this program. */',
      'static struct state {',
      '	long long r[CALLS];		/* results: >= 0, or -errno */',
      '	unsigned long long v[CALLS];	/* what loads read */',
      ...arenas,
      '} *s;',
      '',
    ];
  }

  #helpers(): string[] {
    if (this.#actors.length === 0) return [];
    return [
      'static int state_fd;',
      '',
      ...this.#actorRuns.map((position) => `static void run_${position}(void);`),
      '',
      'static void (*const actor_runs[])(void) = {',
      ...this.#actorRuns.map((position) => `	run_${position},`),
      '};',
      '',
    ];
  }

  #main(body: string[]): string[] {
    const actors = this.#actors.length > 0;
    const map = (flags: string, fd: string) =>
      `	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, ${flags}, ${fd}, 0);`;
    return [
      '/* A call that does not come back answers differently. */',
      'static void on_alarm(int number)',
      '{',
      '(void)number;',
      'if (write(1, "\\nno answer\\n", 11) < 0)',
      '_exit(2);',
      '_exit(1);',
      '}',
      '',
      actors ? 'int main(int argc, char **argv)' : 'int main(void)',
      '{',
      '	int happens = 0;',
      '',
      ...(actors
        ? [
            '	state_fd = argc == 3 ? atoi(argv[2]) : memfd_create("state", MFD_CLOEXEC);',
            '	if (argc != 3 && ftruncate(state_fd, sizeof *s) < 0)',
            '		return 2;',
            map('MAP_SHARED', 'state_fd'),
          ]
        : [map('MAP_SHARED | MAP_ANONYMOUS', '-1')]),
      '	if (s == MAP_FAILED)',
      '		return 2;',
      ...(needsGuard(this.#used) ? ['	catch_faults();'] : []),
      ...(actors ? ['	if (argc == 3) {', '		actor_loop(atoi(argv[1]));', '		return 0;', '	}'] : []),
      '	signal(SIGALRM, on_alarm);',
      `	alarm(${this.#patience()});`,
      '	for (int n = 0; n < CALLS; n++)',
      '		s->r[n] = NOT_REACHED;',
      '',
      ...body,
      '	printf("%s\\n", happens ? "it still happens" : "it does not happen");',
      '	return happens ? 0 : 1;',
      '}',
    ];
  }

  /** Seconds after which a call is taken to hang: much more than all took when recorded. */
  #patience(): number {
    const spans = this.#calls.map((calls) => spanOf(calls));
    const ns = spans.reduce((sum, { start = 0n, end = 0n }) => sum + (end - start), 0n);
    return 60 + Number((10n * ns) / 1_000_000_000n);
  }

  // --- runs ---------------------------------------------------------------------------------------

  /** The runs by the time at which they began; threads that began together are one item. */
  #items(): Item[] {
    const items: Item[] = [];
    let before = 0n;
    this.#runs.forEach((run, position) => {
      const { start = before, end = before } = spanOf(this.#calls[position] ?? []);
      const kind = run.where.split(' ')[0] as 'here' | 'thread' | 'process';
      const previous = items.at(-1);
      const number = (where: string) => Number(where.split(' ')[1]);
      const last = this.#runs[position - 1]?.where ?? '';
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

  #body(): string[] {
    const tracker = new Tracker();
    const items = this.#items();
    const before: Tracker[] = [];
    const texts: string[][] = [];
    /** Where processes begin: texts to be put in front of an item. */
    const spawns = new Map<number, string[]>();
    /** Runs of other processes that are under way. */
    const running = new Map<number, Item>();
    const join = (actor: number, item: Item) => {
      running.delete(actor);
      return [`	actor_join(${actor});`, ...item.positions.flatMap((run) => this.#reports(run))];
    };

    items.forEach((item, index) => {
      before.push(tracker.snapshot());
      const lines: string[] = [];
      for (const [actor, other] of running)
        if (other.end <= item.start || other.where === item.where)
          lines.push(...join(actor, other));
      const [position = 0] = item.positions;
      if (item.kind === 'process') {
        const actor = this.#actor(item, index, items, before, tracker, spawns);
        const state = tracker.snapshot();
        this.#functions.push(
          `static void run_${position}(void)`,
          '{',
          ...this.#renderCalls(position, state),
          '}',
          '',
        );
        lines.push(`	actor_start(${actor}, ${this.#actorRuns.length});`);
        this.#actorRuns.push(position);
        running.set(actor, item);
      } else if (item.kind === 'thread') {
        lines.push(...this.#renderThreads(item, tracker.snapshot()));
      } else {
        lines.push(...this.#renderCalls(position, tracker.snapshot()), ...this.#reports(position));
      }
      for (const run of item.positions)
        for (const call of this.#calls[run] ?? []) tracker.apply(call);
      texts.push(lines);
    });
    const last = [...running].flatMap(([actor, item]) => join(actor, item));
    return [
      ...texts.flatMap((lines, index) => [...(spawns.get(index) ?? []), ...lines, '']),
      ...last,
    ];
  }

  #renderThreads(item: Item, state: Tracker): string[] {
    this.#used.add('threads');
    for (const position of item.positions)
      this.#functions.push(
        `static void *run_${position}(void *unused)`,
        '{',
        '	(void)unused;',
        ...this.#initialData(position, state),
        '	pthread_barrier_wait(&start);',
        ...this.#renderCalls(position, state, false),
        '	return NULL;',
        '}',
        '',
      );
    const names = item.positions.map((position) => `run_${position}`).join(', ');
    return [
      `	run_threads((void *(*const[])(void *)){ ${names} }, ${item.positions.length});`,
      ...item.positions.flatMap((position) => this.#reports(position)),
    ];
  }

  /** The number of the process; spawns it where all fds that it uses from the beginning were open. */
  #actor(
    item: Item,
    index: number,
    items: readonly Item[],
    before: readonly Tracker[],
    tracker: Tracker,
    spawns: Map<number, string[]>,
  ): number {
    const known = this.#actors.indexOf(item.where);
    if (known >= 0) return known;
    this.#used.add('actors');
    this.#notes.add(
      'Calls of other processes (an Actor) are made by this program executed anew. The user, limits ' +
        'and capabilities which that process may have been given are not recorded, nor is its end.',
    );
    const inherited = this.#inheritedFds(items.filter(({ where }) => where === item.where));
    const openAt = (place: number) =>
      inherited.every((fd) => before[place]?.fd('here', fd) !== undefined);
    let place = index;
    while (place > 0 && !openAt(place)) place--;
    if (!openAt(place)) place = index;
    const state = before[place] ?? tracker;
    tracker.begin(item.where, state);
    const number = this.#actors.push(item.where) - 1;
    const keep = inherited.map((fd) => {
      const open = state.fd('here', fd);
      return open ? `(int)${this.#origin(open.origin)}` : String(fd);
    });
    // Two places more: for the actor's channel and the state they share.
    spawns.set(place, [
      ...(spawns.get(place) ?? []),
      `	actor_spawn(${number}, (int[]){ ${[...keep, '-1', '-1'].join(', ')} }, ${keep.length}); /* ${item.where} */`,
    ]);
    return number;
  }

  /** Numbers of fds that a process uses without having opened them. */
  #inheritedFds(items: readonly Item[]): number[] {
    const own = new Tracker();
    const [where = ''] = items.map((item) => item.where);
    own.begin(where, new Tracker());
    const inherited = new Set<number>();
    for (const call of items.flatMap(({ positions }) =>
      positions.flatMap((position) => this.#calls[position] ?? []),
    )) {
      // It had none of the fds for which it was told EBADF, but for what other calls show.
      if (call.op.result !== BigInt(-ERRNO.EBADF))
        for (const fd of this.#literalFds(call))
          if (fd > 2 && !own.fd(where, fd)) inherited.add(fd);
      own.apply(call);
    }
    return [...inherited].sort((a, b) => a - b);
  }

  /** All numbers that a call takes for fds, in its arguments and in its data. */
  #literalFds(call: Call): number[] {
    const { params } = signatureOf(call.op.name);
    const direct = call.op.args.flatMap((arg, index) =>
      arg.kind === 'immediate' && ['fd', 'dirfd'].includes(params[index]?.kind ?? '')
        ? [signed(arg.value)]
        : [],
    );
    const inData = call.op.args.flatMap((_, index) =>
      this.#pieces(call, index).flatMap(({ offset, layout, length }) => {
        const bytes = call.before.subarray(offset, offset + length);
        if (layout === 'fd') return bytes.length >= 4 ? [bytes.readInt32LE(0)] : [];
        if (layout === undefined) return [];
        return meaningOffsets(layout, bytes, 'fd').map((at) => bytes.readInt32LE(at));
      }),
    );
    return [...direct, ...inData].filter((fd) => fd >= 0);
  }

  // --- data ---------------------------------------------------------------------------------------

  /** The structs (or single fd) that an argument points to. */
  #pieces(call: Call, argument: number): Piece[] {
    const area = argumentArea(call, argument);
    const param = signatureOf(call.op.name).params[argument];
    if (!area || !inputKnown(call, area)) return [];
    if (param?.kind === 'record') return [{ ...area, layout: param.layout }];
    if (param?.kind === 'array')
      return Array.from({ length: Math.floor(area.length / param.element.size) }, (_, i) => ({
        offset: area.offset + i * param.element.size,
        length: param.element.size,
        layout: param.element,
      }));
    if (param?.kind !== 'ioctl-argument') return [];
    const ioctl = this.#lines.get(call)?.ioctl ?? likelyIoctl(requestOf(call), area.length);
    if (ioctl?.argument === 'fd-pointer') return [{ offset: area.offset, length: 4, layout: 'fd' }];
    return ioctl?.struct ? [{ ...area, layout: ioctl.struct }] : [];
  }

  /** Statements that give the arena of a run the content it had before. */
  #initialData(position: number, state: Tracker): string[] {
    const before = this.#runs[position]?.arenaBefore ?? Buffer.alloc(0);
    const rest = Buffer.alloc(before.length);
    // Only what a call is given counts; between the areas lies what the arena held earlier.
    for (const call of this.#calls[position] ?? [])
      call.op.args.forEach((_, argument) => {
        const area = argumentArea(call, argument);
        if (area) before.copy(rest, area.offset, area.offset, area.offset + area.length);
      });
    const lines: string[] = [];
    const done = new Set<number>();
    const put = (offset: number, value: string, size: number, comment: string) => {
      this.#used.add('put');
      lines.push(
        `	put(s->a${position} + ${hex(offset)}, ${value}, ${size}); /* ${commentSafe(comment)} */`,
      );
      rest.fill(0, offset, offset + size);
    };
    for (const call of this.#calls[position] ?? []) {
      if (!reached(call)) continue;
      call.op.args.forEach((_, argument) => {
        for (const { offset, length, layout } of this.#pieces(call, argument)) {
          if (done.has(offset)) continue;
          done.add(offset);
          const bytes = before.subarray(offset, offset + length);
          if (layout === 'fd') {
            if (bytes.length < 4) continue;
            put(offset, this.#fd(call.process, bytes.readInt32LE(0), state), 4, 'fd');
          } else if (layout) {
            this.#fields(layout, bytes, offset, call.process, state, put);
          }
        }
      });
    }
    return [...lines, ...this.#bytes(position, rest)];
  }

  /** One statement for each field that is not zero, and for what follows the struct. */
  #fields(
    layout: Struct<unknown>,
    bytes: Buffer,
    base: number,
    process: string,
    state: Tracker,
    put: (offset: number, value: string, size: number, comment: string) => void,
  ): void {
    const fds = new Set(meaningOffsets(layout, bytes, 'fd'));
    const addresses = new Set(meaningOffsets(layout, bytes, 'address'));
    for (const { at, size, name, text } of fieldTextAt(layout, bytes)) {
      const value = size === 8 ? bytes.readBigUInt64LE(at) : BigInt(bytes.readUIntLE(at, size));
      let expression = literal(value, text === String(value));
      if (fds.has(at)) expression = this.#fd(process, bytes.readInt32LE(at), state);
      else if (addresses.has(at)) expression = this.#address(process, value, state);
      if (value !== 0n)
        put(base + at, expression, size, text === String(value) ? name : `${name}=${text}`);
    }
  }

  /** Statements for what is not part of a known struct. */
  #bytes(position: number, bytes: Buffer): string[] {
    const lines: string[] = [];
    for (let at = 0; at < bytes.length;) {
      if (bytes[at] === 0) {
        at++;
        continue;
      }
      // A piece ends where eight zeros begin.
      let end = bytes.indexOf(Buffer.alloc(8), at);
      if (end < 0) end = bytes.length;
      while (bytes[end - 1] === 0) end--;
      const shown = bytes.subarray(at, Math.min(end, at + MAX_DATA));
      const target = `s->a${position} + ${hex(at)}`;
      const printable = shown.every((byte) => byte >= 0x20 && byte < 0x7f);
      if (printable) {
        const text = shown.toString('latin1').replace(/["\\?]/g, '\\$&');
        lines.push(`	memcpy(${target}, "${text}", ${shown.length});`);
      } else {
        const numbers = [...shown].map(String);
        const rows = Array.from({ length: Math.ceil(numbers.length / 16) }, (_, row) =>
          numbers.slice(16 * row, 16 * row + 16).join(', '),
        );
        lines.push(
          `	memcpy(${target}, (const unsigned char[]){`,
          ...rows.map((row) => `		${row},`),
          `	}, ${shown.length});`,
        );
      }
      if (end > at + MAX_DATA) {
        lines.push(`	/* ${end - at - MAX_DATA} bytes more are not repeated here */`);
        this.#notes.add('Large data are not repeated as a whole: see the comments.');
      }
      at = end;
    }
    return lines;
  }

  // --- numbers from earlier calls -----------------------------------------------------------------

  #origin(origin: Origin): string {
    if (origin.kind === 'result') return `s->r[${(this.#base[origin.run] ?? 0) + origin.index}]`;
    this.#used.add('fdAt');
    return `fd_at(s->a${origin.run} + ${hex(origin.offset)})`;
  }

  #fd(process: string, fd: number, state: Tracker): string {
    if (fd < 0) return literal(BigInt(fd));
    const known =
      state.fd(process, fd) ??
      state.closedFd(process, fd) ??
      // Numbers of another process's fds, as pidfd_getfd takes them.
      state.fd('here', fd);
    return known ? this.#origin(known.origin) : String(fd);
  }

  #address(process: string, address: bigint, state: Tracker): string {
    const mapping = state.mapping(process, address) ?? state.formerMapping(process, address);
    if (!mapping) return literal(address);
    const offset = mapping.delta + (address - mapping.start);
    const origin = this.#origin(mapping.origin);
    return offset === 0n ? origin : `${origin} + ${hex(offset)}`;
  }

  #pid(pid: number, state: Tracker): string {
    const child = state.children.get(pid);
    if (child) return this.#origin(child);
    const actor = this.#actors.indexOf(`process ${pid}`);
    if (actor >= 0) return `actors[${actor}].pid`;
    return String(pid);
  }

  /** An argument as an expression of C. */
  #argument(call: Call, index: number, state: Tracker): string {
    const arg = call.op.args[index];
    if (!arg) return '0';
    if (arg.kind === 'arena') return `P(s->a${call.run} + ${hex(arg.offset)})`;
    if (arg.kind === 'reference') {
      const source = (this.#base[call.run] ?? 0) + arg.op;
      const isLoad = call.siblings[arg.op]?.op.name === 'load';
      const value = `s->${isLoad ? 'v' : 'r'}[${source}]`;
      if (arg.addend === 0n) return value;
      return `${value} ${arg.addend < 0n ? '-' : '+'} ${hex(arg.addend < 0n ? -arg.addend : arg.addend)}`;
    }
    const param = signatureOf(call.op.name).params[index];
    switch (param?.kind) {
      case 'fd':
      case 'dirfd':
        return this.#fd(call.process, signed(arg.value), state);
      case 'address':
        return this.#address(call.process, arg.value, state);
      case 'pid':
        return signed(arg.value) > 0 ? this.#pid(signed(arg.value), state) : literal(arg.value);
      case 'ioctl-argument':
      case 'in':
      case 'out':
      case 'record':
      case 'array':
        // An address given as a number: memory of an earlier mapping, or nonsense on purpose.
        return this.#address(call.process, arg.value, state);
      default:
        break;
    }
    if (call.op.name === 'ioctl' && index === 1)
      return requestLiteral(call, this.#lines.get(call)?.ioctl);
    return literal(arg.value, ['int', 'unsigned', 'width'].includes(param?.kind ?? ''));
  }

  // --- calls --------------------------------------------------------------------------------------

  /** The statements of a run: its data (unless they are set up elsewhere), then its calls. */
  #renderCalls(position: number, state: Tracker, withData = true): string[] {
    const calls = this.#calls[position] ?? [];
    const data = withData ? this.#initialData(position, state) : [];
    const lines = this.#range(calls, 0, calls.length, state);
    if (lines.some((line) => line.includes(`goto end_${position};`)))
      lines.push(`end_${position}:`, '	;');
    return [...data, ...lines];
  }

  #range(calls: readonly Call[], from: number, end: number, state: Tracker): string[] {
    const lines: string[] = [];
    const loops = loopsOf(calls, from, end);
    for (let index = from; index < end; index++) {
      const call = calls[index];
      if (!call) break;
      const opening = loops.filter((loop) => loop.from === index).sort((a, b) => b.at - a.at);
      for (const loop of opening)
        lines.push(
          `	for (long long pass_${this.#n(call, loop.at)} = 1;; pass_${this.#n(call, loop.at)}++) {`,
        );
      lines.push(...this.#statement(call, calls, state));
      if (call.op.name === 'fork') index += childLength(call);
      // In all passes but the first, the first failure ends the loop.
      const inside = loops.filter((loop) => loop.from <= index && index < loop.at);
      for (const loop of inside.slice(-1))
        lines.push(
          `	if (pass_${this.#n(call, loop.at)} > 1 && s->r[${this.#n(call)}] < 0)`,
          '		break;',
        );
      if (call.op.stop)
        lines.push(
          `	if (s->r[${this.#n(call)}] < 0)`,
          call.process.startsWith('child') ? '		_exit(1);' : `		goto end_${call.run};`,
        );
    }
    return lines;
  }

  /** Number of a call; of another one in its run, if an index is given. */
  #n(call: Call, index = call.index): number {
    return (this.#base[call.run] ?? 0) + index;
  }

  #statement(call: Call, calls: readonly Call[], state: Tracker): string[] {
    const { op } = call;
    const n = this.#n(call);
    const argument = (index: number) => this.#argument(call, index, state);
    const comment = this.#isAlone(call)
      ? this.#name(call)
      : `	/* [${n}] ${commentSafe(this.#lines.get(call)?.line ?? op.name)} */`;
    const assign = (part: PartName, expression: string) => {
      this.#used.add(part);
      return [comment, `	s->r[${n}] = ${expression};`];
    };
    const guarded = (part: PartName, expression: string) => {
      this.#used.add(part);
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
      case 'yield':
        return [comment, `	s->r[${n}] = 0;`];
      case 'fork':
        return this.#forkStatement(call, calls, state, comment);
      case 'repeat':
        return this.#repeatStatement(call, calls, comment);
      default:
        break;
    }
    const name = SYSCALL_NAMES[op.name] ?? op.name;
    if (op.name in NEW_SYSCALLS) this.#newSyscalls.add(op.name);
    const args = [0, 1, 2, 3, 4, 5].map((index) => argument(index));
    this.#used.add('call');
    return [comment, `	call(${n}, SYS_${name}, ${args.join(', ')});`];
  }

  #forkStatement(call: Call, calls: readonly Call[], state: Tracker, comment: string): string[] {
    const n = this.#n(call);
    const inner = state.snapshot();
    const first = call.index + 1;
    return [
      comment,
      '	{',
      '		pid_t pid = fork();',
      '',
      '		if (pid == 0) {',
      ...this.#range(calls, first, first + childLength(call), inner).map((line) => `		${line}`),
      '			_exit(0);',
      '		}',
      `		s->r[${n}] = pid < 0 ? -errno : pid;`,
      '	}',
    ];
  }

  #repeatStatement(call: Call, calls: readonly Call[], comment: string): string[] {
    const n = this.#n(call);
    const from = Number(call.values[0] ?? 0n);
    const loop = loopsOf(calls, 0, calls.length).find(({ at }) => at === call.index);
    if (!loop) {
      this.#notes.add('A loop that overlaps with another one is not repeated: see the comments.');
      return [
        comment,
        '	/* not repeated: this loop overlaps with another one */',
        `	s->r[${n}] = 0;`,
      ];
    }
    this.#used.add('failure');
    return [
      comment,
      `	s->r[${n}] = first_failure(${this.#n(call, from)}, ${n});`,
      `	if (s->r[${n}] < 0 || pass_${n} >= ${literal(call.values[1] ?? 0n)})`,
      '		break;',
      '	}',
      `	s->r[${n}] = first_failure(${this.#n(call, from)}, ${n});`,
    ];
  }

  // --- answers ------------------------------------------------------------------------------------

  /** Statements which print the answers of a run beside the recorded ones. */
  #reports(position: number): string[] {
    return (this.#calls[position] ?? []).flatMap((call) => {
      const decisive = call === this.#decisive;
      const { op } = call;
      const exits = op.name === 'exit' || op.name === 'exit_group';
      if (!reached(call) || exits) return [];
      const n = this.#n(call);
      const kind = signatureOf(op.name).result;
      const opened = kind !== 'int' || this.#lines.get(call)?.ioctl?.returns !== undefined;
      const recorded = unfinished(call) ? 'NOT_REACHED' : resultLiteral(op.result);
      const prefix = decisive ? '	happens = ' : '	';
      const lines = this.#isAlone(call) ? [] : [this.#name(call)];
      if (op.name === 'load' || op.name === 'wait') {
        this.#used.add('reportLoad');
        return [...lines, `${prefix}report_load(${n}, ${recorded}, ${literal(op.value)});`];
      }
      this.#used.add('report');
      lines.push(`${prefix}report(${n}, ${opened ? 1 : 0}, ${recorded});`);
      if (decisive) lines.push(...this.#comparisons(call));
      return lines;
    });
  }

  /** The only call of a run of this process: it is named before it is made, the others after it. */
  #isAlone(call: Call): boolean {
    return call.siblings.length === 1 && call.place === '';
  }

  #name(call: Call): string {
    this.#used.add('report');
    return `	name(${this.#n(call)}, ${cString(this.#lines.get(call)?.text ?? call.op.name)});`;
  }

  /** Of the deciding call, also the bytes that the kernel wrote must be the same. */
  #comparisons(call: Call): string[] {
    if (call.op.result < 0n) return [];
    const lines: string[] = [];
    const compare = (offset: number, length: number) => {
      if (length <= 0) return;
      this.#used.add('sameBytes');
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
      for (const { offset, length, layout } of this.#pieces(call, index)) {
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
}

/** Runs that were executed together: by the process itself, by its threads, by another process. */
interface Item {
  kind: 'here' | 'thread' | 'process';
  where: string;
  positions: number[];
  start: bigint;
  end: bigint;
}

interface Piece {
  offset: number;
  length: number;
  layout: Struct<unknown> | 'fd' | undefined;
}

/** When the first call of a run began and the last one ended; nothing if none was reached. */
function spanOf(calls: readonly Call[]): { start?: bigint; end?: bigint } {
  const starts = calls.map(({ op }) => op.start).filter((time) => time > 0n);
  const ends = calls.map(({ op }) => op.end).filter((time) => time > 0n);
  if (starts.length === 0) return {};
  const start = starts.reduce((a, b) => (a < b ? a : b));
  return { start, end: ends.reduce((a, b) => (a > b ? a : b), start) };
}

function childLength(fork: Call): number {
  return Number(fork.values[0] ?? 0n);
}

/** The loops that lie within a range and nest properly: from their first operation up to `at`. */
function loopsOf(
  calls: readonly Call[],
  from: number,
  end: number,
): { from: number; at: number }[] {
  const loops: { from: number; at: number }[] = [];
  for (let at = from; at < end; at++) {
    const call = calls[at];
    if (call?.op.name === 'fork') {
      at += childLength(call);
      continue;
    }
    if (call?.op.name !== 'repeat') continue;
    const loop = { from: Number(call.values[0] ?? 0n), at };
    const crosses = loops.some(
      (other) => other.from < loop.from && loop.from < other.at && other.at < loop.at,
    );
    const insideChild = calls
      .slice(0, loop.from)
      .some(
        (other) =>
          other.op.name === 'fork' &&
          other.index >= from &&
          loop.from <= other.index + childLength(other),
      );
    if (loop.from >= from && loop.from < at && !crosses && !insideChild) loops.push(loop);
  }
  return loops;
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

/** A number as the kernel gets it: small ones in decimal, negative ones as such. */
function literal(value: bigint, decimal = false): string {
  const number = BigInt.asIntN(64, value);
  const suffix = number >> 31n ? 'UL' : '';
  if (number >= 0n) return `${decimal || number < 10n ? number : hex(number)}${suffix}`;
  return number > -4096n ? String(number) : `${hex(BigInt.asUintN(64, value))}UL`;
}

/** A recorded result; of an error also its name. */
function resultLiteral(result: bigint): string {
  if (result === -(1n << 63n)) return '(-0x7fffffffffffffffLL - 1)';
  const isError = result < 0n && result >= -4095n;
  return `${result}LL${isError ? ` /* ${errnoName(Number(result))} */` : ''}`;
}

/** Puts statements where their braces say. */
function indent(lines: readonly string[]): string[] {
  let depth = 0;
  let next = 0;
  return lines.map((line) => {
    const text = line.trim();
    if (text.startsWith('}')) depth--;
    const isLabel = /^\w+:$/.test(text);
    const result = text === '' ? '' : '\t'.repeat(isLabel ? 0 : depth + next) + text;
    next = /^(if|for|while) \(/.test(text) && !/[{;]$/.test(text) ? 1 : 0;
    if (text.endsWith('{')) depth++;
    return result;
  });
}

function commentSafe(text: string): string {
  return text.replaceAll('*/', '* /').replaceAll('/*', '/ *').replace(/\\$/, '\\ ');
}

function cString(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte);
    if (char === '"' || char === '\\' || char === '?') return `\\${char}`;
    return byte >= 0x20 && byte < 0x7f ? char : `\\${byte.toString(8).padStart(3, '0')}`;
  });
  return `"${bytes.join('')}"`;
}
