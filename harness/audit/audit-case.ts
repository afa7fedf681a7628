import { recorder, setLiar, type RecordedRun } from '../shim/index.ts';
import { runCase } from '../testing/execute.ts';
import type { Case } from '../testing/registry.ts';
import { liesAbout, sampleLies, type Lie } from './lies.ts';

/** Called around each lie; the supervisor skips what a dead session had told already. */
export interface AuditHandlers {
  onPlan(lies: number): void;
  onLieBegin(index: number, text: string): void;
  /** `told`: false if the test made no such call this time. */
  onLieEnd(index: number, noticed: boolean, told: boolean): void;
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
    const { outcome, told } = runWithLie(testCase, lie);
    handlers.onLieEnd(index, told && outcome.status !== 'pass', told);
    if (outcome.abort !== undefined) return { reason: null, abort: outcome.abort };
  }
  return { reason: null };
}

/** Tells the lie at the first operation like the recorded one, from its place on; `told` is false if there is none. */
function runWithLie(
  testCase: Case,
  lie: Lie,
): { outcome: ReturnType<typeof runCase>; told: boolean } {
  let told = false;
  setLiar(({ run, op, program }) => {
    const isLater = run > lie.run || (run === lie.run && op >= lie.op);
    if (told || !isLater || !lie.fits(program.op(op))) return;
    told = true;
    lie.tell(program);
  });
  try {
    return { outcome: runCase(testCase), told };
  } finally {
    setLiar(null);
  }
}
