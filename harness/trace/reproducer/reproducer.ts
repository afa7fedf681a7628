/**
 * Recorded runs as one standalone C program which makes the same calls: numbers that an earlier
 * call returned (fds, addresses, pids) are taken from that call when the program runs.
 */
import { decodeBlock, type RecordedRun } from '../../shim/index.ts';
import { stringAt, unfinished } from '../call.ts';
import { commentSafe, indent } from './c-text.ts';
import { Recording, spanOf } from './recording.ts';
import { needsGuard, partsFor } from './runtime.ts';
import { bodyStatements } from './schedule.ts';
import { NEW_SYSCALLS } from './statements.ts';
import { Writer } from './writer.ts';

export interface ReproducerOptions {
  /** First line of the program's comment: which test, and what it promises. */
  title?: string;
  /**
   * When it failed, as process.hrtime.bigint() gives it (CLOCK_MONOTONIC in ns). Calls after that are
   * the tidying up: they are repeated, but the answer that decides is the last one before them.
   */
  failedAt?: bigint;
}

/** A program of more calls helps nobody, and takes long to write in an emulated machine. */
const MAX_CALLS = 10_000;

/** The program. Without any runs it does nothing, and ends with 1. */
export function renderReproducer(
  runs: readonly RecordedRun[],
  options: ReproducerOptions = {},
): string {
  const count = runs.reduce((sum, { block }) => sum + decodeBlock(block).ops.length, 0);
  if (count > MAX_CALLS)
    return `/* ${commentSafe(options.title ?? '')}: ${count} calls are too many for a program. */\n`;
  const writer = new Writer(new Recording(runs, options.failedAt));
  const { decisive } = writer.recording;
  if (decisive && unfinished(decisive))
    writer.notes.add(
      'The deciding call never ended when this was recorded. If it ends, that does not happen any more.',
    );
  const statements = bodyStatements(writer);
  const { code, includes } = partsFor(writer.used);
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
  const newSyscalls = [...writer.newSyscalls].flatMap((name) => [
    `#ifndef SYS_${name}`,
    `#define SYS_${name} ${NEW_SYSCALLS[name]}`,
    '#endif',
  ]);
  return [
    comment(writer, options.title ?? 'Recorded system calls'),
    '#define _GNU_SOURCE',
    ...[...new Set(headers)].sort().map((name) => `#include <${name}>`),
    '',
    ...newSyscalls,
    ...(newSyscalls.length > 0 ? [''] : []),
    ...state(writer),
    ...actorTable(writer),
    ...code.map((part) => part.trimStart() + '\n'),
    ...indent(writer.functions),
    ...indent(main(writer, statements)),
    '',
  ].join('\n');
}

function comment(writer: Writer, title: string): string {
  const { recording } = writer;
  const names = new Set<string>();
  for (const call of recording.calls.flat()) {
    const arg = call.op.args[2];
    if (recording.ioctl(call)?.name === 'VFIO_GROUP_GET_DEVICE_FD' && arg?.kind === 'arena')
      names.add(stringAt(call.before, arg.offset));
  }
  const lines = [
    title,
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
  const dropped = (writer.recording.runs.at(-1)?.run ?? -1) + 1 - writer.recording.runs.length;
  if (dropped > 0)
    lines.push('', `${dropped} runs in the middle were not recorded: this program is incomplete.`);
  for (const note of writer.notes) lines.push('', note);
  return `/*\n${lines.map((line) => ` * ${commentSafe(line)}`.trimEnd()).join('\n')}\n */`;
}

function state(writer: Writer): string[] {
  const arenas = writer.recording.runs.flatMap((run, position) =>
    run.arenaBefore.length === 0
      ? []
      : [`	unsigned char a${position}[${run.arenaBefore.length}] __attribute__((aligned(16)));`],
  );
  return [
    `#define CALLS ${Math.max(writer.recording.total, 1)}`,
    '#define NOT_REACHED (-125LL)',
    '#define P(pointer) ((unsigned long)(pointer))',
    ...(writer.actors.length > 0 ? [`#define ACTORS ${writer.actors.length}`] : []),
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

function actorTable(writer: Writer): string[] {
  if (writer.actors.length === 0) return [];
  return [
    'static int state_fd;',
    '',
    ...writer.actorRuns.map((position) => `static void run_${position}(void);`),
    '',
    'static void (*const actor_runs[])(void) = {',
    ...writer.actorRuns.map((position) => `	run_${position},`),
    '};',
    '',
  ];
}

function main(writer: Writer, body: readonly string[]): string[] {
  const actors = writer.actors.length > 0;
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
    ...(needsGuard(writer.used) ? ['	catch_faults();'] : []),
    ...(actors ? ['	if (argc == 3) {', '		actor_loop(atoi(argv[1]));', '		return 0;', '	}'] : []),
    '	signal(SIGALRM, on_alarm);',
    `	alarm(${patience(writer)});`,
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
function patience({ recording }: Writer): number {
  const spans = recording.calls.map((calls) => spanOf(calls));
  const ns = spans.reduce((sum, { start = 0n, end = 0n }) => sum + (end - start), 0n);
  return 60 + Number((10n * ns) / 1_000_000_000n);
}
