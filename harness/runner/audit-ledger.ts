import type { TestAudit } from '../../reports/audit.ts';
import type { AuditException } from './audit-exceptions.ts';

/** One false answer to a call of a test. */
export interface Lie {
  /** Of the test. */
  id: string;
  /** Number among the lies of its test. */
  index: number;
  text: string;
}

/** Which lies each test noticed, over all sessions. */
export class AuditLedger {
  readonly #audits = new Map<string, TestAudit>();
  readonly #exceptions: readonly AuditException[];

  /** @param exceptions lies that need not be noticed */
  constructor(exceptions: readonly AuditException[]) {
    this.#exceptions = exceptions;
  }

  /** All tests so far, in the order in which they were begun. */
  get audits(): TestAudit[] {
    return [...this.#audits.values()];
  }

  /** A test's entry, made if there is none yet. */
  of(id: string): TestAudit {
    let audit = this.#audits.get(id);
    if (!audit) {
      audit = { id, told: 0, noticed: 0, unnoticed: [], excused: [], untold: 0, reason: null };
      this.#audits.set(id, audit);
    }
    return audit;
  }

  /** @param told false if the test made no such call this time */
  settle({ id, text }: Lie, noticed: boolean, told: boolean): void {
    const test = this.of(id);
    if (!told) {
      test.untold += 1;
      return;
    }
    const exception = this.#exceptions.find((candidate) => candidate.matches(id, text));
    if (!noticed && exception) {
      test.excused.push({ lie: text, reason: exception.reason });
      return;
    }
    test.told += 1;
    if (noticed) test.noticed += 1;
    else test.unnoticed.push(text);
  }
}
