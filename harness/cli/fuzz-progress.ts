import type { JournalEvent } from '../../reports/journal.ts';

const EVERY_MS = 10_000;

type FuzzEnd = Extract<JournalEvent, { type: 'fuzz-end' }>;
/** What was done in all slices of a fuzzer. */
type Work = Pick<FuzzEnd, 'programs' | 'operations' | 'durationMs' | 'executionMs'>;

/** What a campaign has done so far, for a line on the terminal now and then. */
export class FuzzProgress {
  readonly #write: (text: string) => void;
  readonly #begun = performance.now();
  #told = performance.now();
  #programs = 0;
  #operations = 0;
  #findings = 0;
  readonly #reached = new Set<string>();
  readonly #work = new Map<string, Work>();
  /** All functions that there are, as far as they have been told. */
  readonly #known = new Set<string>();
  /** Programs and operations of slices that are under way, by fuzzer. */
  readonly #running = new Map<string, { programs: number; operations: number }>();

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** Takes what happened. */
  apply(event: JournalEvent): void {
    switch (event.type) {
      case 'fuzz-progress':
        this.#running.set(event.id, event);
        break;
      case 'fuzz-end':
        this.#running.delete(event.id);
        this.#count(event);
        this.#programs += event.programs;
        this.#operations += event.operations;
        for (const name of event.functions?.reached ?? []) this.#reached.add(name);
        for (const name of event.functions?.unreached ?? []) this.#known.add(name);
        break;
      case 'fuzz-finding':
        this.#findings++;
        break;
      default:
        return;
    }
    if (performance.now() - this.#told < EVERY_MS) return;
    this.#told = performance.now();
    this.#write(this.summary());
  }

  /** `2 min: 120 programs, 90210 operations (751/s), 0 findings`. */
  summary(): string {
    const seconds = (performance.now() - this.#begun) / 1000;
    const running = [...this.#running.values()];
    const sum = (key: 'programs' | 'operations', done: number) =>
      running.reduce((total, slice) => total + slice[key], done);
    const operations = sum('operations', this.#operations);
    const functions = this.#reached.size > 0 ? `, ${this.#reached.size} functions reached` : '';
    return (
      `${Math.round(seconds)} s: ${sum('programs', this.#programs)} programs, ${operations} operations ` +
      `(${Math.round(operations / seconds)}/s)${functions}, ${this.#findings} findings`
    );
  }

  #count({ id, programs, operations, durationMs, executionMs }: FuzzEnd): void {
    const sum = this.#work.get(id) ?? { programs: 0, operations: 0, durationMs: 0, executionMs: 0 };
    this.#work.set(id, {
      programs: sum.programs + programs,
      operations: sum.operations + operations,
      durationMs: sum.durationMs + durationMs,
      executionMs: sum.executionMs + executionMs,
    });
  }

  /** A line for each fuzzer: how fast it was, and how fast its calls alone would have been. */
  throughput(): string {
    return [...this.#work]
      .map(([id, { programs, operations, durationMs, executionMs }]) => {
        const speed = durationMs > 0 ? Math.round((1000 * operations) / durationMs) : 0;
        const share = durationMs > 0 ? (executionMs / durationMs).toFixed(2) : '-';
        return `${id}: ${programs} programs, ${operations} operations, ${speed}/s, ${share} of the speed of the calls alone\n`;
      })
      .join('');
  }

  /** Which functions of VFIO were reached and which were not; empty if the kernel does not tell. */
  functions(): string {
    if (this.#reached.size === 0) return '';
    const unreached = [...this.#known].filter((name) => !this.#reached.has(name));
    const list = (names: Iterable<string>) => [...names].sort().map((name) => `  ${name}\n`);
    return [
      `reached: ${this.#reached.size}\n`,
      ...list(this.#reached),
      `not reached: ${unreached.length}\n`,
      ...list(unreached),
    ].join('');
  }
}
