/** What the run of a test says about the kernel. */
import { inspect } from 'node:util';
import { processError } from '@vitest/utils/error';
import { isLockedDown } from '../kernel/lockdown.ts';
import type { Failure } from '../protocol/test.ts';
import { KernelError } from '../shim/index.ts';
import { SkipError } from './requirement.ts';
import type { Changes } from './system-watch.ts';

/** A failure without what the record of calls adds to it. */
export type Finding = Omit<Failure, 'calls' | 'hints'>;

/**
 * The first of all that went wrong; undefined if nothing did.
 * @param thrown by the body; undefined if it came to its end
 * @param notUndone why something that it owed could not be undone
 */
export function judge(
  thrown: unknown,
  notUndone: readonly Error[],
  { complaints, taints, leftovers }: Changes,
): Finding | undefined {
  if (thrown !== undefined) return describe(thrown);
  if (complaints.length > 0 || taints.length > 0) {
    return {
      kind: 'kernel-log',
      message: `the kernel complained: ${complaints[0] ?? `it is tainted now (${taints.join(', ')})`}`,
      expected: 'a clean kernel log',
      observed: [...complaints, ...taints.map((name) => `taint: ${name}`)].join('\n'),
    };
  }
  if (notUndone.length > 0) return describe(notUndone[0]);
  if (leftovers.length > 0) {
    return {
      kind: 'leak',
      message: `the test left something behind: ${leftovers[0]}`,
      expected: 'file descriptors, locked memory and references as before the test',
      observed: leftovers.join('\n'),
    };
  }
  return undefined;
}

/** Why a test could not be run by this user, or null: a file that only root may use is no verdict. */
export function lackingRight(error: unknown): string[] | null {
  if (error instanceof SkipError) return error.reasons;
  const { code, path } = (error ?? {}) as NodeJS.ErrnoException;
  if (path === undefined || (code !== 'EACCES' && code !== 'EPERM')) return null;
  if (process.getuid?.() !== 0) return [`it needs root: ${path}`];
  return isLockedDown() ? [`it needs a kernel that is not locked down: ${path}`] : null;
}

/** An assertion or a refusal of the kernel's is a verdict about it; anything else is our own trouble. */
function isVerdict(error: unknown): boolean {
  if (error instanceof KernelError) return true;
  // A matcher of our own throws an error of another name; it has both sides of the comparison too.
  return (
    error instanceof Error &&
    (error.name === 'AssertionError' || ('actual' in error && 'expected' in error))
  );
}

function describe(error: unknown): Finding {
  const processed = processError(error);
  const text = (value: unknown) =>
    value === undefined ? undefined : typeof value === 'string' ? value : inspect(value);
  const expected = text(processed.expected);
  const observed = text(processed.actual);
  return {
    kind: isVerdict(error) ? 'assertion' : 'setup',
    message: processed.message ?? String(error),
    ...(expected !== undefined && { expected }),
    ...(observed !== undefined && { observed }),
    ...(processed.stack !== undefined && { stack: processed.stack }),
  };
}
