import { plannedTests, type JournalLine } from './journal.ts';
import { ktapCase, ktapEnd, ktapHead } from './ktap.ts';
import type { RunResults, TestResult } from './results.ts';

/**
 * A run as flat KTAP, test by test as they end: what was printed stays printed if the machine goes
 * down. `results.ktap` has the suites around them, which a run on several machines mixes.
 */
export class KtapStream {
  readonly #write: (text: string) => unknown;
  readonly #printed = new Set<string>();

  constructor(write: (text: string) => unknown) {
    this.#write = write;
  }

  /** Takes a line of the journal and the result it brought about, if any. */
  show(line: JournalLine, finished?: TestResult): void {
    if (line.type === 'run-begin') this.#print(ktapHead(line, plannedTests(line).length));
    if (finished) this.#printCase(finished);
  }

  /** What has a result without having been run, then how the run ended. */
  end(results: RunResults): void {
    for (const test of results.tests) if (!this.#printed.has(test.id)) this.#printCase(test);
    this.#print(ktapEnd(results));
  }

  #printCase(test: TestResult): void {
    this.#printed.add(test.id);
    this.#print(ktapCase(test, this.#printed.size));
  }

  #print(lines: string[]): void {
    this.#write(lines.map((line) => `${line}\n`).join(''));
  }
}
