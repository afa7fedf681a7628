/** What the end of a session says of the test in which it came. */
import type { Failure } from '../protocol/test.ts';
import type { SessionEnd } from '../target/target.ts';
import type { Hang, SessionRun } from './session-watch.ts';

/** Whether a session ended in a way that speaks against the kernel or the worker. */
export function isDeath(end: SessionEnd): boolean {
  return ['guest-panic', 'guest-died', 'worker-died'].includes(end.kind);
}

/** How a session died, for people. */
export function deathMessage(end: SessionEnd): string {
  const what = {
    'guest-panic': 'the kernel panicked',
    'guest-died': 'the guest went down',
    'worker-died': 'the worker process died',
  }[end.kind as 'guest-panic' | 'guest-died' | 'worker-died'];
  return end.detail ? `${what}: ${end.detail}` : what;
}

/** The failure of a test that ran into its time limit. */
export function hangFailure(
  { limitMs, evidence }: Hang,
  end: SessionEnd,
  logs: readonly string[],
): Failure {
  return {
    ...failureOf('death', `hung: no end within ${limitMs / 1000} s`, end, logs),
    stack: evidence.join('\n') || undefined,
    hints: ['on a slow machine: --timeout-scale 2'],
  };
}

/** The message, then what the worker logged, and its last words if they are not the kernel's. */
export function failureOf(
  kind: Failure['kind'],
  message: string,
  end: SessionEnd,
  logs: readonly string[],
): Failure {
  const lines = [message];
  if (logs.length > 0) lines.push('logged:', ...logs.map((line) => `  ${line}`));
  if (end.tail.length > 0 && !isConsole(end.tail))
    lines.push('last lines:', ...end.tail.map((line) => `  ${line}`));
  return { kind, message: lines.join('\n'), calls: [], hints: [] };
}

/** What the kernel logged in the test in which a session ended. */
export function kernelLogOf({ end, current, hang }: SessionRun): string[] {
  return current && isConsole(end.tail) ? sinceBegin(end.tail, current.nonce, hang) : [];
}

/** Whether the last lines come from a guest's console (the kernel's time stamps) or from a worker. */
function isConsole(tail: string[]): boolean {
  return tail.some((line) => /^\s*(<\d+>)?\[\s*\d+\.\d+\]/.test(line));
}

/**
 * The console from the test's begin marker on. If the marker is no longer in the tail, all of it is
 * younger; after a hang it is then all evidence, which is kept elsewhere.
 */
function sinceBegin(tail: string[], nonce: string, hang: Hang | undefined): string[] {
  const marker = nonce === '' ? -1 : tail.findLastIndex((line) => line.includes(nonce));
  if (!hang) return tail.slice(marker + 1);
  if (marker < 0) return [];
  const since = tail.slice(marker + 1);
  const evidence = since.findIndex((line) => line.includes('sysrq: '));
  return evidence < 0 ? since : since.slice(0, evidence);
}
