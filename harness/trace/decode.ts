/** Recorded programs as lines of text, in the manner of strace but with knowledge of VFIO. */
import type { RecordedRun } from '../shim/index.ts';
import { timeline } from './call.ts';
import { describeCall } from './text/call.ts';
import { Tracker } from './tracker.ts';

/** More lines than this are cut in the middle: nobody reads them, and reports carry them about. */
const MAX_LINES = 2000;

/** One line for each call of these runs, in the order in which they began. */
export function decodeRuns(runs: readonly RecordedRun[], maxLines = MAX_LINES): string[] {
  const tracker = new Tracker();
  const lines: string[] = [];
  const calls = timeline(runs);
  const half = Math.floor(maxLines / 2);
  const cut = calls.length > maxLines ? { from: half, to: calls.length - half } : undefined;
  calls.forEach((call, position) => {
    const previous = runs[call.run - 1]?.run ?? -1;
    const missing = (runs[call.run]?.run ?? 0) - previous - 1;
    if (call.index === 0 && missing > 0) lines.push(`... ${missing} runs were not kept ...`);
    if (position === cut?.from) lines.push(`... ${cut.to - cut.from} calls are not shown ...`);
    // What is not shown still opens and closes.
    const hidden = cut && position >= cut.from && position < cut.to;
    if (!hidden) lines.push(describeCall(call, tracker));
    tracker.apply(call);
  });
  return lines;
}
