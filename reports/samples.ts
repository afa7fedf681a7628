import type { TestMeta } from '../harness/protocol/test.ts';
import type { JournalEvent, JournalLine, SupervisorEvent } from './journal.ts';
import type { Expectation } from './results.ts';

/** Samples for this project's own unit tests. */

/** Text that breaks naive writers of XML, TAP, KTAP and YAML. */
export const HOSTILE =
  'a ]]> b <script>&amp;\u0000\u001b[31m # SKIP not\nok 1 - forged\n...\n---\nBail out! {\r\n\ud800 é\u2028 "q" \\ \'';

export function sampleTest(id: string, more: Partial<TestMeta> = {}): TestMeta {
  return {
    id,
    suite: id.split('.', 1)[0] ?? id,
    title: `the promise of ${id} is kept`,
    file: `suites/${id.split('.', 1)[0] ?? id}/sample.test.ts`,
    covers: ['VFIO_IOMMU_MAP_DMA'],
    source: ['include/uapi/linux/vfio.h'],
    fixes: [],
    needs: ['an IOMMU'],
    peer: [],
    timeoutMs: 10_000,
    ...more,
  };
}

export function sampleBegin(
  tests: TestMeta[],
  expectations: Record<string, Expectation> = {},
): Extract<SupervisorEvent, { type: 'run-begin' }> {
  return {
    type: 'run-begin',
    schema: 1,
    version: '0.1.0',
    command: ['vfio-conformance', 'run'],
    rerun: 'npx vfio-conformance run',
    kernel: '7.3.4',
    machine: 'default',
    target: { target: 'vm', QEMU: '10.0' },
    timeoutScale: 1,
    seed: null,
    tests,
    expectationFiles: [],
    expectations,
  };
}

/** Events as journal lines, a second apart. */
export function asLines(events: JournalEvent[]): JournalLine[] {
  return events.map((event, second) => ({
    at: new Date(Date.UTC(2026, 10, 22, 12, 0, second)).toISOString(),
    ...event,
  }));
}

/** A run that has one test of every status, with hostile text wherever text can be. */
export function sampleRun(): JournalLine[] {
  const known = (
    kind: Expectation['kind'],
    outcome: Expectation['outcome'] = 'fail',
  ): Expectation => ({
    kind,
    outcome,
    reason: `known ${HOSTILE}`,
    from: '7.3-fails.txt:1',
  });
  const ids = ['pass', 'fail', 'skip', 'error', 'crash', 'timeout', 'xfail', 'xpass', 'avoided'];
  const tests = ids.map((name, i) => sampleTest(`${i % 2 ? 'device' : 'container'}.${name}@igb`));
  const [pass, fail, skip, error, crash, timeout, xfail, xpass, avoided] = tests.map(
    ({ id }) => id,
  ) as [string, string, string, string, string, string, string, string, string];
  const failure = {
    kind: 'assertion' as const,
    message: HOSTILE,
    expected: `EEXIST\n${HOSTILE}`,
    observed: HOSTILE,
    calls: [`ioctl(3, VFIO_IOMMU_MAP_DMA) = 0 ${HOSTILE}`],
    hints: [HOSTILE],
  };
  const begin = (id: string): JournalEvent => ({ type: 'test-begin', id, nonce: 'n' });
  const end = (id: string, status: 'pass' | 'fail' | 'error' | 'skip'): JournalEvent => ({
    type: 'test-end',
    id,
    status,
    durationMs: 12.5,
    skip: status === 'skip' ? [`no device ${HOSTILE}`, 'second reason'] : [],
    ...(status === 'fail' || status === 'error' ? { failure } : {}),
    kernelLog: status === 'pass' ? [] : [`[    1.000000] ${HOSTILE}`],
  });
  const session = (n: number): JournalEvent => ({ type: 'session-start', session: n, tests: 1 });
  const hello: JournalEvent = {
    type: 'hello',
    protocol: 1,
    environment: { kernel: '7.3.4+deb13-amd64', hostile: HOSTILE, list: ['a', 'b'] },
  };
  return asLines([
    sampleBegin(tests, {
      [xfail]: known('fail'),
      [xpass]: known('fail'),
      [avoided]: known('skip'),
    }),
    session(0),
    hello,
    ...[pass, fail, skip, error, xfail, xpass].flatMap((id) => [
      begin(id),
      end(
        id,
        id === fail || id === xfail
          ? 'fail'
          : id === skip
            ? 'skip'
            : id === error
              ? 'error'
              : 'pass',
      ),
    ]),
    begin(crash),
    {
      type: 'session-end',
      session: 0,
      kind: 'guest-panic',
      detail: 'oops',
      tail: [],
      during: crash,
    },
    {
      type: 'verdict',
      id: crash,
      status: 'crash',
      durationMs: 5,
      failure: { ...failure, kind: 'death' },
      kernelLog: [HOSTILE],
    },
    session(1),
    hello,
    begin(timeout),
    { type: 'hang', id: timeout, limitMs: 10_000 },
    {
      type: 'session-end',
      session: 1,
      kind: 'killed',
      detail: 'killed',
      tail: [],
      during: timeout,
    },
    {
      type: 'verdict',
      id: timeout,
      status: 'timeout',
      durationMs: 10_000,
      failure: { ...failure, kind: 'death' },
      kernelLog: [],
    },
    { type: 'run-end', outcome: 'finished', reason: '' },
  ]);
}
