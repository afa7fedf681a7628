import type { TestAudit } from '../../reports/audit.ts';
import type { JournalEvent } from '../../reports/journal.ts';
import type { WorkerEvent } from '../protocol/events.ts';
import type { TestMeta } from '../protocol/test.ts';
import type { Session, SessionEnd, Target } from '../target/target.ts';
import type { AuditException } from './audit-exceptions.ts';
import { AuditLedger, type Lie } from './audit-ledger.ts';
import { START_SILENCE_MS } from './start-silence.ts';

export interface AuditOptions {
  target: Target;
  tests: readonly TestMeta[];
  /** Lies a test. */
  most: number;
  exceptions: readonly AuditException[];
  timeoutScale: number;
  record(event: JournalEvent): void;
  signal: AbortSignal;
}

/** Sessions in a row that may end without telling a single lie. */
const MAX_FRUITLESS = 3;

/** Audits tests in one session after the other; a lie that kills its session counts as noticed. */
export async function audit(options: AuditOptions): Promise<TestAudit[]> {
  const ledger = new AuditLedger(options.exceptions);
  const remaining = options.tests.map(({ id }) => id);
  let from = 0;
  let fruitless = 0;
  for (let number = 0; remaining.length > 0 && !options.signal.aborted; number++) {
    options.record({ type: 'session-start', session: number, tests: remaining.length });
    const session = await auditSession(options, remaining, from, ledger);
    options.record({
      type: 'session-end',
      session: number,
      kind: session.end.kind,
      detail: session.end.detail,
      tail: session.end.tail,
      during: remaining[0] ?? null,
    });
    from = session.next;
    fruitless = session.progressed ? 0 : fruitless + 1;
    const [stuck] = remaining;
    if (fruitless === MAX_FRUITLESS && stuck !== undefined) {
      ledger.of(stuck).reason = `no session survives it: ${session.end.detail}`;
      remaining.shift();
      from = 0;
      fruitless = 0;
    }
  }
  return ledger.audits;
}

interface SessionAudit {
  end: SessionEnd;
  /** The lie from which to go on in the first of the remaining tests. */
  next: number;
  progressed: boolean;
}

/** One session; takes the tests that are done out of `remaining`. */
async function auditSession(
  { target, tests, most, timeoutScale, record, signal }: AuditOptions,
  remaining: string[],
  from: number,
  ledger: AuditLedger,
): Promise<SessionAudit> {
  const limits = new Map(tests.map((test) => [test.id, test.timeoutMs * timeoutScale]));
  let session: Session | undefined;
  let timer: NodeJS.Timeout | undefined;
  let current: Lie | undefined;
  let next = from;
  let progressed = false;

  const arm = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(() => void session?.kill(), ms);
  };
  const settle = (noticed: boolean, told = true): void => {
    if (!current) return;
    ledger.settle(current, noticed, told);
    next = current.index + 1;
    progressed = true;
    current = undefined;
  };
  const onEvent = (event: WorkerEvent): void => {
    record(event);
    switch (event.type) {
      case 'audit-plan':
        ledger.of(event.id);
        break;
      case 'lie-begin':
        current = event;
        arm(limits.get(event.id) ?? START_SILENCE_MS);
        return;
      case 'lie-end':
        settle(event.noticed, event.told);
        break;
      case 'audit-end':
        ledger.of(event.id).reason = event.reason;
        remaining.shift();
        next = 0;
        progressed = true;
        break;
      default:
        break;
    }
    arm(START_SILENCE_MS * timeoutScale);
  };

  const onAbort = (): void => void session?.kill();
  signal.addEventListener('abort', onAbort);
  try {
    session = await target.start(
      { tests: [...remaining], audit: { from, most } },
      { onEvent, onProgress: (text) => record({ type: 'progress', text }) },
    );
    arm(START_SILENCE_MS * timeoutScale);
    const end = await session.ended;
    // Whoever dies of a lie has noticed it; an emulator that breaks has not.
    if (!signal.aborted && end.kind !== 'infrastructure') settle(true);
    return { end, next, progressed };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    await session?.kill();
  }
}
