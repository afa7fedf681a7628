import type { JSX } from 'preact';
import type { Status } from '../../../harness/protocol/test.ts';
import type { Summary } from '../../results.ts';
import { GRAVITY } from './model.ts';

/** What a status means, in few words. */
export const STATUS_WORDS: Record<Status, string> = {
  pass: 'the promise is kept',
  fail: 'the promise is broken',
  crash: 'kernel or worker died',
  timeout: 'no end within the limit',
  error: 'the set-up broke',
  xpass: 'passed against an expectation',
  xfail: 'known failure',
  skip: 'not tested',
};

/** A shape of its own for each status, on a square of 16: colour alone says nothing to many. */
const SHAPES: Record<Status, JSX.Element> = {
  pass: <path d="M2.5 8.5 6.5 12.5 13.5 4" fill="none" />,
  fail: <path d="M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5" fill="none" />,
  crash: (
    <path
      d="M8 1 9.8 5.4 14.5 4 11.2 8 14.5 12 9.8 10.6 8 15 6.2 10.6 1.5 12 4.8 8 1.5 4 6.2 5.4Z"
      class="solid"
    />
  ),
  timeout: <path d="M3.5 2h9M3.5 14h9M4.5 2c0 4 7 8 7 12M11.5 2c0 4-7 8-7 12" fill="none" />,
  error: <path d="M8 2 15 14H1ZM8 6.5v3.5M8 12v.4" fill="none" />,
  xpass: <path d="M8 14V3M3.5 7.5 8 3l4.5 4.5" fill="none" />,
  xfail: <path d="M1.5 9.5C4 4 6 5 8 8s4 4 6.5-1.5" fill="none" />,
  skip: <path d="M3 8h10" fill="none" />,
};

/** The shape of a status; `label` if no word stands beside it. */
export function StatusIcon({ status, label = false }: { status: Status; label?: boolean }) {
  return (
    <svg
      class={`icon s-${status}`}
      viewBox="0 0 16 16"
      role={label ? 'img' : undefined}
      aria-label={label ? status : undefined}
      aria-hidden={!label}
    >
      {SHAPES[status]}
    </svg>
  );
}

/** Shape and word. */
export function StatusBadge({ status }: { status: Status }) {
  return (
    <span class={`badge s-${status}`} title={STATUS_WORDS[status]}>
      <StatusIcon status={status} />
      {status}
    </span>
  );
}

/** The counts of a run, or of a part of it, as one bar; its text says the same. */
export function StatusBar({ summary }: { summary: Partial<Summary> }) {
  const parts = GRAVITY.toReversed().filter((status) => (summary[status] ?? 0) > 0);
  const text = parts.map((status) => `${summary[status]} ${status}`).join(', ');
  return (
    <div class="status-bar" role="img" aria-label={text} title={text}>
      {parts.map((status) => (
        <span key={status} class={`s-${status}`} style={{ flexGrow: summary[status] }} />
      ))}
    </div>
  );
}

/** How many tests ended in each way. */
export function summaryOf(tests: readonly { status: Status }[]): Partial<Summary> {
  const summary: Partial<Summary> = {};
  for (const { status } of tests) summary[status] = (summary[status] ?? 0) + 1;
  return summary;
}
