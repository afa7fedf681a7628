import type { BenchResults } from '../bench-results.ts';
import type { BenchComparison } from '../bench/compare.ts';
import type { Bucket } from '../bench/latency.ts';
import type { CoverageRow } from '../coverage.ts';
import type { FoundRun } from '../results.ts';

/** Benchmarks as the page shows them. */
export interface ReportBench {
  /** Their results directory. */
  directory: string;
  /** Without the encoded histograms, which the page could not read. */
  results: BenchResults;
  /** The samples of each benchmark by its id, in buckets a few per cent wide, the fastest first. */
  distributions: Record<string, Bucket[]>;
}

/** All that a page of the HTML report knows: what is written into it, and what its script reads. */
export interface ReportData {
  /** The oldest first. There is a run or a benchmark at least. */
  runs: FoundRun[];
  benches: ReportBench[];
  /** The first of the benchmarks against each of the others. */
  benchComparisons: BenchComparison[];
  /** The uAPI items with the tests of these runs that cover them. */
  coverage: CoverageRow[];
  /** The fragment of the page's address that opens first, as `#/compare`; empty for the overview. */
  start: string;
}
