import { performance } from 'node:perf_hooks';
import type { Failure } from '../protocol/test.ts';
import { recorder, type RecordedRun } from '../shim/index.ts';
import { decodeRuns, renderReproducer } from '../trace/index.ts';
import { watchMappings } from '../vfio/region.ts';
import { TestContext } from './context.ts';
import { functionInRole } from './machine.ts';
import type { Case } from './registry.ts';
import { SystemWatch } from './system-watch.ts';
import { Teardown } from './teardown.ts';
import { judge, lackingRight } from './verdict.ts';

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
  const pci = functionInRole(testCase.role);
  const missing = testCase.requirements
    .map((requirement) => requirement.missing(pci))
    .filter((reason) => reason !== null);
  if (missing.length > 0) {
    return { status: 'skip', durationMs: elapsed(), skip: missing, kernelLog: [] };
  }

  const provoked = [...testCase.provokes];
  const functions = testCase.roles.map(functionInRole).filter((pci) => pci !== null);
  const watch = new SystemWatch(meta.id, nonce, functions, provoked);
  const { thrown, failedAt, notUndone, runs } = runBody(testCase, provoked);
  const changes = watch.end();

  const { kernelLog } = changes;
  const outcome: Outcome = { status: 'pass', durationMs: elapsed(), skip: [], kernelLog };
  const lacking = lackingRight(thrown);
  if (lacking !== null) return { ...outcome, status: 'skip', skip: lacking };
  onRecorded(runs);
  const finding = judge(thrown, notUndone, changes);
  if (!finding) return outcome;
  return {
    ...outcome,
    status: finding.kind === 'setup' ? 'error' : 'fail',
    failure: {
      ...finding,
      calls: decodeRuns(runs),
      hints: meta.fixes.map((fix) => `you may be missing ${fix}`),
      reproducer: renderReproducer(runs, { title: `${meta.id}: ${meta.title}`, failedAt }),
    },
    ...(notUndone.length > 0 && { abort: notUndone.map(({ message }) => message).join('; ') }),
  };
}

interface BodyRun {
  /** By the body; undefined if it came to its end. */
  thrown?: unknown;
  failedAt?: bigint;
  /** Why something that it owed could not be undone. */
  notUndone: Error[];
  /** Its calls. */
  runs: RecordedRun[];
}

/** Runs the body and undoes all that it owes. */
function runBody({ body, role }: Case, provoked: RegExp[]): BodyRun {
  const teardown = new Teardown();
  // A device whose memory stays mapped stays open, and is busy in all tests that follow.
  watchMappings((mapping) => teardown.defer(() => mapping.unmap()));
  recorder.begin();
  let failure: Pick<BodyRun, 'thrown' | 'failedAt'> = {};
  try {
    body(new TestContext(role, teardown, provoked));
  } catch (error) {
    failure = {
      thrown: error ?? new Error('the test threw nothing'),
      failedAt: process.hrtime.bigint(),
    };
  }
  return { ...failure, notUndone: teardown.run(), runs: recorder.take() };
}
