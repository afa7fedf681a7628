import { stripPrefix } from './normalise.ts';

/** What a kernel prints in one go when something is wrong with it. */
export type SplatKind =
  | 'kasan'
  | 'lockdep'
  | 'rcu-usage'
  | 'rcu-stall'
  | 'soft-lockup'
  | 'hard-lockup'
  | 'hung-task'
  | 'atomic'
  | 'oops'
  | 'bug'
  | 'ubsan'
  | 'iommu-fault'
  | 'warning'
  | 'panic'
  | 'other';

export interface SplatBlock {
  kind: SplatKind;
  /** The line that says what is wrong. */
  headline: string;
  /** All lines, without time stamps. */
  lines: string[];
}

/** Where a splat begins; the first that matches decides, so the special ones come first. */
const STARTS: readonly [SplatKind, RegExp][] = [
  ['kasan', /\bBUG: (?:KASAN|KFENCE|KCSAN|KMSAN): /],
  [
    'lockdep',
    /possible (?:circular|recursive) locking|possible irq lock inversion|inconsistent lock state|bad unlock balance|lock held when returning to user space|-safe -> .*-unsafe lock order|possible deadlock/,
  ],
  ['rcu-usage', /suspicious RCU usage/],
  ['rcu-stall', /rcu: INFO: .*(?:stall)|INFO: rcu_\w+ (?:self-)?detected/],
  ['soft-lockup', /BUG: soft lockup/],
  ['hard-lockup', /hard LOCKUP/],
  ['hung-task', /INFO: task .* blocked (?:in I\/O wait )?for more than \d+ seconds/],
  ['atomic', /BUG: scheduling while atomic|BUG: sleeping function called from invalid context/],
  ['bug', /kernel BUG at /],
  [
    'oops',
    /BUG: (?:kernel NULL pointer dereference|unable to handle)|general protection fault|Unable to handle kernel|\bOops: /,
  ],
  ['ubsan', /\bUBSAN: /],
  [
    'iommu-fault',
    /DMAR: .*fault addr|AMD-Vi: Event logged|arm-smmu.*(?:event|fault)|page fault from EP/,
  ],
  ['warning', /\bWARNING: /],
  ['panic', /Kernel panic - not syncing/],
  [
    'other',
    /\bBUG: |irq \d+: nobody cared|refcount_t: |list_(?:add|del) corruption|ODEBUG: |cannot create duplicate filename/,
  ],
];

const CUT_HERE = /^-+\[ cut here \]-+/;
const END_TRACE = /---\[ end (?:trace|Kernel panic)/;
const RULER = /^=+$/;
const END_OF_TASK = /^\s*<\/TASK>/;
/** Nothing that is left out of a splat is worth more than this many lines. */
const MOST_LINES = 300;

/** The splats in a kernel log, oldest first. Lines between them are left out. */
export function extractSplats(log: readonly string[]): SplatBlock[] {
  const lines = log.flatMap((record) => record.split('\n')).map(stripPrefix);
  const splats: SplatBlock[] = [];
  let before: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    // A WARN with a message prints it between the scissors and the headline.
    const kind = CUT_HERE.test(line) ? undefined : kindOf(line, lines, i);
    if (kind === undefined) {
      before =
        CUT_HERE.test(line) || RULER.test(line)
          ? [line]
          : before.length > 0
            ? [...before, line]
            : [];
      if (before.length > 8) before = [];
      continue;
    }
    const end = endOf(kind, lines, i);
    splats.push({ kind, headline: line, lines: [...before, ...lines.slice(i, end + 1)] });
    before = [];
    i = end;
  }
  return splats;
}

function kindOf(line: string, lines: readonly string[], index: number): SplatKind | undefined {
  const kind = STARTS.find(([, pattern]) => pattern.test(line))?.[0];
  // `refcount_t: …` and `list_add corruption …` are the messages of a WARNING or BUG that follows.
  const belongsToNext =
    kind === 'other' &&
    CUT_HERE.test(lines[index - 1] ?? '') &&
    STARTS.some(([, pattern]) => pattern.test(lines[index + 1] ?? ''));
  return belongsToNext ? undefined : kind;
}

/** Index of the last line of the splat that begins at `start`. */
function endOf(kind: SplatKind, lines: readonly string[], start: number): number {
  if (kind === 'iommu-fault') return start;
  const limit = Math.min(lines.length - 1, start + MOST_LINES);
  const traced = ['oops', 'bug', 'warning', 'panic'].includes(kind);
  for (let i = start + 1; i <= limit; i++) {
    const line = lines[i] ?? '';
    if (END_TRACE.test(line)) return i;
    if (CUT_HERE.test(line)) return i - 1;
    if (kind === 'kasan' && RULER.test(line)) return i;
    if (!traced && kind !== 'kasan' && END_OF_TASK.test(line)) return i;
  }
  return kind === 'other' || (traced && !hasTrace(lines, start, limit)) ? start : limit;
}

function hasTrace(lines: readonly string[], from: number, to: number): boolean {
  return lines.slice(from, to + 1).some((line) => /Call Trace:|RIP: |^CPU: /.test(line));
}
