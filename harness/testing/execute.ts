import { processError } from '@vitest/utils/error';
import { performance } from 'node:perf_hooks';
import type { Failure } from '../protocol/test.ts';
import { KernelLog } from '../kernel/kmsg.ts';
import { complaints } from '../kernel/log-patterns.ts';
import { brokenTaints } from '../kernel/taint.ts';
import { KernelError, recorder, type RecordedRun } from '../shim/index.ts';
import { watchMappings } from '../vfio/region.ts';
import { decodeRuns, renderReproducer } from '../trace/index.ts';
import { TestContext } from './context.ts';
import { closeLeftovers, footprint, leftovers } from './footprint.ts';
import type { Case } from './registry.ts';
import { SkipError } from './requirement.ts';
import { Teardown } from './teardown.ts';

/** How a test ended inside the worker. */
export interface Outcome {
  status: 'pass' | 'fail' | 'error' | 'skip';
  durationMs: number;
  skip: string[];
  failure?: Failure;
  kernelLog: string[];
  /** Set if the system could not be put back: no further test may run in this session. */
  abort?: string;
}

let kernelLog: KernelLog | null | undefined;

/** The kernel log, opened with the first test; null if this user may not read it. */
function log(): KernelLog | null {
  if (kernelLog === undefined) kernelLog = KernelLog.open();
  return kernelLog;
}

/** The test before: what it provoked may be logged only after its end. */
let previous: { id: string; provoked: readonly RegExp[] } = { id: 'the start', provoked: [/./] };

/**
 * Runs one test: requirements, body, teardown, then everything that must be as before.
 * @param nonce marks the test in the kernel log, so that a console alone tells who was running.
 * @param onRecorded gets the calls of a test that ran to its end.
 */
export function runCase(
  testCase: Case,
  nonce = '',
  onRecorded: (runs: RecordedRun[]) => void = () => {},
): Outcome {
  const { meta } = testCase;
  const start = performance.now();
  const elapsed = () => Math.round((performance.now() - start) * 1000) / 1000;
  const missing = testCase.requirements
    .map((requirement) => requirement.missing())
    .filter((reason) => reason !== null);
  if (missing.length > 0) {
    return { status: 'skip', durationMs: elapsed(), skip: missing, kernelLog: [] };
  }

  const late = complaints(log()?.drain() ?? [], previous.provoked);
  log()?.mark(`begin ${meta.id} ${nonce}`);
  const taintBefore = brokenTaints();
  const before = footprint();
  const provoked = [...testCase.provokes];
  const lateWords = late.map((record) => `${record} (after the end of ${previous.id})`);
  previous = { id: meta.id, provoked };
  const teardown = new Teardown();
  // A device whose memory stays mapped stays open, and is busy in all tests that follow.
  watchMappings((mapping) => teardown.defer(() => mapping.unmap()));
  recorder.begin();

  let thrown: unknown;
  let failedAt: bigint | undefined;
  try {
    testCase.body(new TestContext(testCase.role, teardown, provoked));
  } catch (error) {
    thrown = error ?? new Error('the test threw nothing');
    failedAt = process.hrtime.bigint();
  }
  const teardownErrors = teardown.run();
  const after = footprint();
  const left = leftovers(before, after);
  log()?.mark(`end ${meta.id} ${nonce}`);
  const records = log()?.drain() ?? [];
  const complained = [...lateWords, ...complaints(records, provoked)];
  const taint = brokenTaints().filter((name) => !taintBefore.includes(name));

  const outcome: Outcome = { status: 'pass', durationMs: elapsed(), skip: [], kernelLog: records };
  const lacking = lackingRight(thrown);
  if (lacking !== null) return { ...outcome, status: 'skip', skip: lacking };
  const runs = recorder.take();
  closeLeftovers(before, after);
  onRecorded(runs);
  const fail = (status: 'fail' | 'error', failure: Omit<Failure, 'calls' | 'hints'>): Outcome => ({
    ...outcome,
    status,
    failure: {
      ...failure,
      calls: decodeRuns(runs),
      hints: meta.fixes.map((fix) => `you may be missing ${fix}`),
      reproducer: renderReproducer(runs, { title: `${meta.id}: ${meta.title}`, failedAt }),
    },
    ...(teardownErrors.length > 0 && {
      abort: teardownErrors.map(({ message }) => message).join('; '),
    }),
  });

  if (thrown !== undefined) return fail(statusOf(thrown), describe(thrown));
  if (complained.length > 0 || taint.length > 0) {
    return fail('fail', {
      kind: 'kernel-log',
      message: `the kernel complained: ${complained[0] ?? `it is tainted now (${taint.join(', ')})`}`,
      expected: 'a clean kernel log',
      observed: [...complained, ...taint.map((name) => `taint: ${name}`)].join('\n'),
    });
  }
  if (teardownErrors.length > 0) {
    const [first] = teardownErrors;
    return fail(statusOf(first), describe(first));
  }
  if (left.length > 0) {
    return fail('fail', {
      kind: 'leak',
      message: `the test left something behind: ${left[0]}`,
      expected: 'file descriptors and locked memory as before the test',
      observed: left.join('\n'),
    });
  }
  return outcome;
}

/** Why a test could not be run by this user, or null: a file that only root may use is no verdict. */
function lackingRight(error: unknown): string[] | null {
  if (error instanceof SkipError) return error.reasons;
  const { code, path } = (error ?? {}) as NodeJS.ErrnoException;
  const isDenied = path !== undefined && (code === 'EACCES' || code === 'EPERM');
  return isDenied && process.getuid?.() !== 0 ? [`it needs root: ${path}`] : null;
}

/** An assertion or a refusal of the kernel's is a verdict about it; anything else is our own trouble. */
function statusOf(error: unknown): 'fail' | 'error' {
  // A matcher of our own throws an error of another name; it has both sides of the comparison too.
  const isVerdict =
    error instanceof KernelError ||
    (error instanceof Error &&
      (error.name === 'AssertionError' || ('actual' in error && 'expected' in error)));
  return isVerdict ? 'fail' : 'error';
}

function describe(error: unknown): Omit<Failure, 'calls' | 'hints'> {
  const processed = processError(error);
  const text = (value: unknown) =>
    value === undefined ? undefined : typeof value === 'string' ? value : JSON.stringify(value);
  const expected = text(processed.expected);
  const observed = text(processed.actual);
  return {
    kind: statusOf(error) === 'fail' ? 'assertion' : 'setup',
    message: processed.message ?? String(error),
    ...(expected !== undefined && { expected }),
    ...(observed !== undefined && { observed }),
    ...(processed.stack !== undefined && { stack: processed.stack }),
  };
}
