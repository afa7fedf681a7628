import type { CoverageRow } from '../coverage.ts';
import type { FoundRun } from '../results.ts';

/** All that a page of the HTML report knows: what is written into it, and what its script reads. */
export interface ReportData {
  /** The oldest first; at least one. */
  runs: FoundRun[];
  /** The uAPI items with the tests of these runs that cover them. */
  coverage: CoverageRow[];
  /** The fragment of the page's address that opens first, as `#/compare`; empty for the overview. */
  start: string;
}
