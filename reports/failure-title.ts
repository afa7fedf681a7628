import type { TestResult } from './results.ts';
import { normalise } from './splat/normalise.ts';
import { culprit, splatsOf, type Splat } from './splat/title.ts';

/** The splats that belong to a failure: what a test provokes on purpose explains nothing. */
export function splatsOfTest(test: TestResult): Splat[] {
  const kind = test.failure?.kind;
  if (kind !== 'kernel-log' && kind !== 'death') return [];
  const observed = test.failure?.observed ?? '';
  return splatsOf(test.kernelLog).filter(
    (splat) =>
      kind === 'death' || splat.kind !== 'iommu-fault' || observed.includes(splat.headline),
  );
}

/**
 * The name of a failure, the same for the same bug in every run and on every device: that of its
 * gravest splat, else what the deciding call did. Null for a test that did not fail.
 */
export function failureTitle(test: TestResult): string | null {
  const { failure } = test;
  if (!failure) return null;
  const [splat] = splatsOfTest(test);
  if (splat) return splat.title;
  const message = normalise(failure.message.split('\n', 1)[0] ?? '');
  if (test.status === 'timeout') {
    const blocked = blockedIn(failure.stack ?? '');
    return blocked === undefined ? `hang: ${familyOf(test.id)}` : `hang in ${blocked}`;
  }
  if (failure.kind === 'death' || failure.kind === 'kernel-log') return message;
  const call = decidingCall(failure.calls, failure.observed);
  if (call === undefined) return `${familyOf(test.id)}: ${withoutValues(message)}`;
  return message.startsWith(`${call}:`) ? message : `${call}: ${message}`;
}

/** A message of an assertion without what differs from device to device. */
function withoutValues(message: string): string {
  return message
    .replace(/ \/\/ Object\.is equality$/, '')
    .replace(/\[ [^\]]*\]/g, '[…]')
    .replace(/\b\d+n?\b/g, 'N');
}

/** The id without the device and the number of a finding: `device.reset.config@igb` → `device.reset.config`. */
export function familyOf(id: string): string {
  return id.replace(/[@#].*/, '');
}

/** The ioctl or syscall that gave the observed answer; undefined if none did or it says nothing. */
function decidingCall(calls: readonly string[], observed: string | undefined): string | undefined {
  if (observed === undefined || !/^E[A-Z0-9]+$/.test(observed)) return undefined;
  const call = calls.findLast((text) => new RegExp(`= -1 ${observed}\\b`).test(text));
  return /\b((?:VFIO|IOMMU|KVM)_\w+)/.exec(call ?? '')?.[1] ?? /^\W*(\w+)\(/.exec(call ?? '')?.[1];
}

/** Where the task hung that the evidence shows in state D. */
function blockedIn(evidence: string): string | undefined {
  const lines = evidence.split('\n');
  const task = lines.findIndex((line) => /task:\S+\s+state:D/.test(line));
  if (task < 0) return undefined;
  const next = lines.findIndex((line, index) => index > task && /task:\S+\s+state:/.test(line));
  return culprit(
    lines.slice(task, next < 0 ? undefined : next).map((line) => line.replace(/^.*?\]\s/, ' ')),
  );
}
