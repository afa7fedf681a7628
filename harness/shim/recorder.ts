/** Keeps what was executed, for the trace and the reproducer of a failing test. */
import { beginBlackBox } from './black-box.ts';
import type { ProgramMemory } from './program-memory.ts';
import type { RecordedRun } from './recorded-run.ts';

const DEFAULT_LIMIT = 8 * 1024 * 1024;

function sizeOf(run: RecordedRun): number {
  return run.block.byteLength + run.arenaBefore.byteLength;
}

class Recorder {
  #recording = false;
  #limit = DEFAULT_LIMIT;
  #first: RecordedRun[] = [];
  #firstBytes = 0;
  #firstFull = false;
  #last: RecordedRun[] = [];
  #lastBytes = 0;
  #runs = 0;
  #dropped = 0;

  get recording(): boolean {
    return this.#recording;
  }

  /** How many runs since begin() were dropped, because the limit was reached. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Starts recording with an empty record, and an empty black box.
   * @param limit bytes to keep: one half for the first runs, one for the last
   */
  begin(limit = DEFAULT_LIMIT): void {
    beginBlackBox();
    this.#recording = true;
    this.#limit = limit;
    this.#first = [];
    this.#last = [];
    this.#firstBytes = this.#lastBytes = this.#runs = this.#dropped = 0;
    this.#firstFull = false;
  }

  /** Does something that is not recorded. */
  pause<T>(body: () => T): T {
    const before = this.#recording;
    this.#recording = false;
    try {
      return body();
    } finally {
      this.#recording = before;
    }
  }

  /** Ends recording and returns what was kept, in order. */
  take(): RecordedRun[] {
    const runs = [...this.#first, ...this.#last];
    this.#recording = false;
    this.#first = [];
    this.#last = [];
    return runs;
  }

  record(program: ProgramMemory, where: string, arenaBefore: Buffer): void {
    const block = Buffer.allocUnsafeSlow(program.blockSize);
    program.writeBlock(block);
    const run = { run: this.#runs++, where, block, arenaBefore };
    const size = sizeOf(run);
    if (!this.#firstFull && this.#firstBytes + size <= this.#limit / 2) {
      this.#first.push(run);
      this.#firstBytes += size;
      return;
    }
    this.#firstFull = true;
    this.#last.push(run);
    this.#lastBytes += size;
    // The newest run always stays, whatever its size.
    while (this.#last.length > 1 && this.#lastBytes > this.#limit / 2) {
      this.#lastBytes -= sizeOf(this.#last.shift() as RecordedRun);
      this.#dropped++;
    }
  }
}

export const recorder = new Recorder();
