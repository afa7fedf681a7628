import { recorder, setLiar, type RecordedRun } from '../shim/index.ts';
import { runCase } from '../testing/execute.ts';
import type { Case } from '../testing/registry.ts';
import { liesAbout, sampleLies, type Lie } from './lies.ts';

/** Called around each lie; the supervisor skips what a dead session had told already. */
export interface AuditHandlers {
  onPlan(lies: number): void;
  onLieBegin(index: number, text: string): void;
  onLieEnd(index: number, noticed: boolean): void;
}

/**
 * Runs a test again and again, each time with one false answer.
 * @param from index of the first lie to tell: those before were told in an earlier session.
 * @param most lies a test.
 * @returns `reason`: why the test cannot be audited, null after a complete audit. `abort`: a lie
 * left the system in disorder, the next session goes on behind it.
 */
export function auditCase(
  testCase: Case,
  { from, most }: { from: number; most: number },
  handlers: AuditHandlers,
): { reason: string | null; abort?: string } {
  let runs: RecordedRun[] = [];
  const truth = runCase(testCase, '', (recorded) => (runs = recorded));
  if (truth.status !== 'pass') {
    return { reason: `it does not pass by itself: ${truth.status}` };
  }
  if (recorder.dropped > 0) {
    return { reason: 'it makes more calls than the recorder keeps' };
  }
  const lies = sampleLies(liesAbout(runs), most);
  handlers.onPlan(lies.length);
  for (const [index, lie] of lies.entries()) {
    if (index < from) continue;
    handlers.onLieBegin(index, lie.text);
    const outcome = runWithLie(testCase, lie);
    handlers.onLieEnd(index, outcome.status !== 'pass');
    if (outcome.abort !== undefined) return { reason: null, abort: outcome.abort };
  }
  return { reason: null };
}

function runWithLie(testCase: Case, lie: Lie): ReturnType<typeof runCase> {
  setLiar(({ run, op, program }) => {
    if (run === lie.run && op === lie.op) lie.tell(program);
  });
  try {
    return runCase(testCase);
  } finally {
    setLiar(null);
  }
}
