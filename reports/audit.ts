import type { TestAudit } from '../harness/runner/audit.ts';

/** Percentage of lies noticed over all tests; 100 if none was told. */
export function percentNoticed(audits: readonly TestAudit[]): number {
  const told = audits.reduce((sum, audit) => sum + audit.told, 0);
  const noticed = audits.reduce((sum, audit) => sum + audit.noticed, 0);
  return told === 0 ? 100 : (100 * noticed) / told;
}

/** The audit for people: what was not noticed first, the sum last. */
export function renderAudit(audits: readonly TestAudit[]): string {
  const lines: string[] = [];
  for (const { id, told, noticed, unnoticed, reason } of audits) {
    if (reason !== null) lines.push(`${id}: not audited: ${reason}`);
    if (unnoticed.length === 0) continue;
    lines.push(`${id}: ${noticed} of ${told} lies noticed; not noticed:`);
    lines.push(...unnoticed.map((lie) => `    ${lie}`));
  }
  const sum = (pick: (audit: TestAudit) => number) =>
    audits.reduce((total, audit) => total + pick(audit), 0);
  const excused = sum((audit) => audit.excused.length);
  lines.push(
    `${sum((audit) => audit.noticed)} of ${sum((audit) => audit.told)} lies noticed ` +
      `(${percentNoticed(audits).toFixed(1)} %) in ${audits.length} tests` +
      (excused > 0 ? `, ${excused} more excused` : ''),
  );
  return lines.join('\n') + '\n';
}
