import { plannedTests, type JournalLine } from '../journal.ts';
import { explain, reasonOf } from '../explain.ts';
import { isBad, type TestResult } from '../results.ts';
import { duration, oneLine, printable } from '../text.ts';
import { colorsFor, statusWord, type Colors } from './style.ts';

/** What of a stream the display needs; `process.stdout` is one. */
export interface Terminal {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

/** Detail lines printed for one failure; the reports hold all of them. */
const MAX_DETAIL = 60;
const BAR_WIDTH = 20;

/**
 * The run as it happens: failures with all that is known as soon as they are known; on a terminal a
 * bar that shows where the run is, otherwise a plain line a test.
 */
export class LiveDisplay {
  readonly #out: Terminal;
  readonly #quiet: boolean;
  readonly #colors: Colors;
  readonly #started = Date.now();
  #total = 0;
  #done = 0;
  #bad = 0;
  #doing = '';
  #barShown = false;
  #ticker: NodeJS.Timeout | undefined;

  /** `quiet`: failures only. */
  constructor(out: Terminal, options: { quiet?: boolean } = {}) {
    this.#out = out;
    this.#quiet = options.quiet ?? false;
    this.#colors = colorsFor(out);
    if (this.#hasBar) {
      this.#ticker = setInterval(() => this.#drawBar(), 1000);
      this.#ticker.unref();
    }
  }

  /** Takes a line of the journal and the result it brought about, if any. */
  show(line: JournalLine, finished?: TestResult): void {
    switch (line.type) {
      case 'run-begin': {
        const isSkipped = (id: string) => line.expectations[id]?.kind === 'skip';
        this.#total = plannedTests(line).filter(({ id }) => !isSkipped(id)).length;
        break;
      }
      case 'progress':
      case 'log':
        this.#doing = oneLine(line.text);
        if (!this.#hasBar && !this.#quiet && line.type === 'progress')
          this.#print(`-- ${this.#doing}`);
        break;
      case 'test-begin':
        this.#doing = line.id;
        break;
      case 'hang':
        this.#doing = `${line.id ?? 'the session'} hangs: collecting evidence`;
        if (!this.#hasBar && !this.#quiet) this.#print(`-- ${this.#doing}`);
        break;
      case 'session-end':
        if (line.kind !== 'clean' || line.detail.startsWith('the worker gave up')) {
          this.#print(
            this.#colors.yellow(`-- session ended (${line.kind}): ${oneLine(line.detail)}`),
          );
        }
        break;
      default:
        break;
    }
    if (finished) this.#showResult(finished);
    this.#drawBar();
  }

  /** Says something that is no event of the run: the preparation of a kernel, an interruption. */
  note(text: string): void {
    if (!this.#quiet) this.#print(`-- ${oneLine(text)}`);
  }

  /** Takes the bar away; what is printed next starts on a clean line. */
  close(): void {
    clearInterval(this.#ticker);
    this.#clearBar();
  }

  get #hasBar(): boolean {
    return this.#out.isTTY === true && !this.#quiet;
  }

  #showResult(test: TestResult): void {
    this.#done += 1;
    const bad = isBad(test.status);
    if (bad) this.#bad += 1;
    if (!bad && (this.#quiet || this.#hasBar)) return;
    const place = `[${String(this.#done).padStart(String(this.#total).length)}/${this.#total}]`;
    const reason = bad ? '' : oneLine(reasonOf(test));
    const note = reason ? ` # ${reason}` : ` (${duration(test.durationMs)})`;
    this.#print(
      `${place} ${statusWord(test.status, this.#colors)} ${test.id}${this.#colors.dim(note)}`,
    );
    if (!bad) return;
    this.#print(`    ${this.#colors.bold(oneLine(test.title))}`);
    const details = explain(test).flatMap((line) => printable(line).split('\n'));
    for (const line of details.slice(0, MAX_DETAIL)) this.#print(`    ${line}`);
    const more = details.length - MAX_DETAIL;
    if (more > 0) {
      this.#print(`    … ${more} more lines in results.json`);
      this.#print(`    run it again: ${test.rerun}`);
    }
  }

  #print(text: string): void {
    this.#clearBar();
    this.#out.write(text + '\n');
  }

  #drawBar(): void {
    if (!this.#hasBar || this.#total === 0) return;
    const share = Math.min(1, this.#done / this.#total);
    const filled = Math.round(share * BAR_WIDTH);
    const bar = '#'.repeat(filled) + '.'.repeat(BAR_WIDTH - filled);
    const failed = this.#bad > 0 ? `, ${this.#bad} failed` : '';
    const head = `[${bar}] ${this.#done}/${this.#total}${failed}, ${duration(Date.now() - this.#started)} `;
    const room = Math.max(0, (this.#out.columns ?? 80) - head.length - 1);
    this.#clearBar();
    this.#out.write(head + this.#doing.slice(0, room));
    this.#barShown = true;
  }

  #clearBar(): void {
    if (!this.#barShown) return;
    this.#out.write('\r\u001b[2K');
    this.#barShown = false;
  }
}
