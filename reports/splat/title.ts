import { extractSplats, type SplatBlock } from './extract.ts';
import { normalise, stripPrefix } from './normalise.ts';

/** A splat with a name that is the same each time the same bug shows. */
export interface Splat extends SplatBlock {
  title: string;
}

export function splatsOf(log: readonly string[]): Splat[] {
  return extractSplats(log).map((block) => ({ ...block, title: titleOf(block) }));
}

/** Functions that only carry the news, or are where everybody waits. */
const CARRIERS =
  /^(?:_*schedule|schedule_|io_schedule|m?sleep|usleep_|_*mutex_|_*ww_mutex|_*rt_mutex|rwsem_|down_|_*down\b|_*wait_for_|wait_|_*refcount_|_*list_|kasan_|_*asan_|check_|debug_|_*warn|report_bug|handle_bug|exc_|asm_|panic|_*die|oops_|page_fault|bad_area|_*might_|lock_|_*lock_|validate_chain|print_|dump_|show_|_*kfree|_*_?kmalloc|kmem_|_*slab_|rcu_|native_|sched_|_*raw_spin|queued_spin|memcpy|memset|_*preempt|sysfs_|kobject_add|device_add)/;

/** The function a splat is about: where the CPU was, or the first that does more than wait or report. */
export function culprit(lines: readonly string[]): string | undefined {
  const frames: string[] = [];
  for (const line of lines) {
    const rip = /\b(?:RIP: [0-9a-f]{4}:|pc : )([\w.]+)\+0x/.exec(line)?.[1];
    const frame = /^\s*(?:\[<[0-9a-f]+>\] )?([A-Za-z_][\w.]*)\+0x[0-9a-f]+\/0x[0-9a-f]+/.exec(
      line,
    )?.[1];
    const name = rip ?? frame;
    if (name !== undefined) frames.push(normalise(name));
  }
  return frames.find((name) => !CARRIERS.test(name)) ?? frames[0];
}

/** The name of a splat: what is wrong, and in which function or file. */
function titleOf(block: SplatBlock): string {
  const { kind, headline, lines } = block;
  const where = culprit(lines);
  const inside = where === undefined ? '' : ` in ${where}`;
  switch (kind) {
    case 'kasan':
      // Names its function itself: `BUG: KASAN: slab-use-after-free in f+0x1/0x2 [vfio]`.
      return normalise(headline.replace(/^.*?BUG: /, '').replace(/ \[\w+\]/g, ''));
    case 'lockdep': {
      const lock = lines.map((line) => /, at: ([\w.]+)\+0x/.exec(line)?.[1]).find(Boolean);
      const what = normalise(
        headline.replace(/^.*?(?:WARNING|INFO|BUG): /, '').replace(/^=*\[? ?| ?\]?=*$|!$/g, ''),
      );
      return `lockdep: ${what}${lock ? ` in ${normalise(lock)}` : inside}`;
    }
    case 'rcu-usage': {
      const place = lines.find((line) => /^[\w./-]+\.[ch]:\d+ /.test(line));
      return `suspicious RCU usage${place ? ` at ${normalise(place).split(' ')[0]}` : inside}`;
    }
    case 'rcu-stall':
      return `RCU stall${inside}`;
    case 'soft-lockup':
      return `soft lockup${inside}`;
    case 'hard-lockup':
      return `hard lockup${inside}`;
    case 'hung-task':
      return `hung task${inside}`;
    case 'atomic':
      return `${/scheduling while atomic/.test(headline) ? 'scheduling while atomic' : 'sleeping function called from invalid context'}${inside}`;
    case 'bug':
      return `${bugMessage(lines, headline) ?? normalise(headline.replace(/^.*?kernel BUG/, 'kernel BUG').replace(/!$/, ''))}${inside}`;
    case 'oops':
      return `${oopsWords(headline)}${inside}`;
    case 'ubsan':
      return normalise(headline.replace(/^.*?UBSAN: /, 'UBSAN: '));
    case 'iommu-fault':
      return faultTitle(headline);
    case 'warning': {
      const message = bugMessage(lines, headline);
      return `${message ?? 'WARNING'}${warnedIn(headline, where)}`;
    }
    case 'panic':
      return normalise(headline.replace(/^.*?Kernel panic - not syncing: /, 'panic: '));
    case 'other':
      return (
        normalise(headline)
          .replace(/\birq \d+:/, 'irq:')
          .replace(/ '.*'$/, '') + inside
      );
  }
}

/** What stands between the scissors and the headline, of the kinds whose text is a name. */
function bugMessage(lines: readonly string[], headline: string): string | undefined {
  const before = lines.slice(0, lines.indexOf(headline));
  const message = before.find((line) =>
    /^(?:refcount_t: |list_\w+ corruption|ODEBUG: )/.test(line),
  );
  return message === undefined
    ? undefined
    : normalise(message.replace(/\. .*|\.$/, '').replace(/; .*/, ''));
}

/** `at f+0x1/0x2` of both forms of the headline; the caller if that is only a carrier. */
function warnedIn(headline: string, where: string | undefined): string {
  const named = / at (?:[\w./-]+:\d+ )?([A-Za-z_][\w.]*)\+0x/.exec(headline)?.[1];
  const name = named !== undefined && !CARRIERS.test(named) ? normalise(named) : where;
  if (name !== undefined) return ` in ${name}`;
  const file = /([\w./-]+\.[chS]):\d+/.exec(headline)?.[1];
  return file === undefined
    ? `: ${normalise(headline.replace(/^.*?WARNING: /, ''))}`
    : ` at ${file}`;
}

function oopsWords(headline: string): string {
  if (/NULL pointer/.test(headline)) return 'NULL pointer dereference';
  if (/general protection fault/.test(headline)) return 'general protection fault';
  if (/page fault|paging request/.test(headline)) return 'bad page fault';
  return normalise(headline.replace(/: [0-9a-f]{4} \[#\d+\].*/, ''));
}

function faultTitle(headline: string): string {
  const dmar = /DMAR: \[(DMA \w+|INTR-REMAP)[^\]]*\].*\[fault reason 0x[0-9a-f]+\] (.*)/i.exec(
    headline,
  );
  if (dmar) return `DMAR: ${dmar[1]}: ${normalise(dmar[2] ?? '')}`;
  const amd = /AMD-Vi: Event logged \[(\w+)/.exec(headline);
  if (amd) return `AMD-Vi: ${amd[1]}`;
  return normalise(stripPrefix(headline));
}
