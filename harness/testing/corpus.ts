/** A fuzz program that is kept: it failed once, and must not again. */
export interface CorpusEntry {
  /** Path relative to the project: `suites/AREA/fuzz/corpus/ID/NAME.txt`. */
  file: string;
  text: string;
}

let entries: readonly CorpusEntry[] = [];

/** Tells the fuzzers what is kept; called once by the worker. */
export function setCorpus(given: readonly CorpusEntry[]): void {
  entries = given;
}

/** What is kept of a fuzzer. */
export function corpusOf(id: string): CorpusEntry[] {
  return entries.filter(({ file }) => file.includes(`/corpus/${id}/`));
}
