/** What the audit found out about one test. */
export interface TestAudit {
  id: string;
  /** Lies told, without those that are excused. */
  told: number;
  noticed: number;
  /** Lies that no assertion noticed. */
  unnoticed: string[];
  /** Lies that need not be noticed, with the reason. */
  excused: { lie: string; reason: string }[];
  /** Lies that could not be told again, because the test made no such call any more. */
  untold: number;
  /** Why the test could not be audited, or null. */
  reason: string | null;
}

/** Percentage of lies noticed over all tests; 100 if none was told. */
export function percentNoticed(audits: readonly TestAudit[]): number {
  const told = sum(audits, (audit) => audit.told);
  return told === 0 ? 100 : (100 * sum(audits, (audit) => audit.noticed)) / told;
}

/** The audits of each suite, in the order of the suites' names. */
export function auditsBySuite(audits: readonly TestAudit[]): [suite: string, TestAudit[]][] {
  const suites = new Map<string, TestAudit[]>();
  for (const audit of audits) {
    const suite = audit.id.slice(0, audit.id.indexOf('.'));
    suites.set(suite, [...(suites.get(suite) ?? []), audit]);
  }
  return [...suites].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The audit for people: what was not noticed first, the sum of each suite and of all last. */
export function renderAudit(audits: readonly TestAudit[]): string {
  const lines: string[] = [];
  for (const { id, told, noticed, unnoticed, excused, reason } of audits) {
    if (reason !== null) lines.push(`${id}: not audited: ${reason}`);
    if (unnoticed.length > 0) {
      lines.push(`${id}: ${noticed} of ${told} lies noticed; not noticed:`);
      lines.push(...unnoticed.map((lie) => `    ${lie}`));
    }
    if (excused.length > 0) {
      lines.push(`${id}: need not be noticed:`);
      lines.push(...excused.map(({ lie, reason: why }) => `    ${lie} # ${why}`));
    }
  }
  const suites = auditsBySuite(audits);
  if (suites.length > 1) lines.push(...suites.map(([suite, own]) => `${suite}: ${summary(own)}`));
  lines.push(summary(audits));
  return lines.join('\n') + '\n';
}

function summary(audits: readonly TestAudit[]): string {
  const excused = sum(audits, (audit) => audit.excused.length);
  const untold = sum(audits, (audit) => audit.untold);
  return (
    `${sum(audits, (audit) => audit.noticed)} of ${sum(audits, (audit) => audit.told)} lies noticed ` +
    `(${percentNoticed(audits).toFixed(1)} %) in ${audits.length} tests` +
    (excused > 0 ? `, ${excused} more excused` : '') +
    (untold > 0 ? `, ${untold} could not be told again` : '')
  );
}

function sum(audits: readonly TestAudit[], pick: (audit: TestAudit) => number): number {
  return audits.reduce((total, audit) => total + pick(audit), 0);
}
