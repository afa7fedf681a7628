import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';

/**
 * The kernel log, read record by record from /dev/kmsg
 * (Documentation/ABI/testing/dev-kmsg), so that nothing is missed and nothing is read twice.
 */
export class KernelLog {
  readonly #reader: number;
  readonly #writer: number | null;
  readonly #buffer = Buffer.alloc(8192);

  private constructor(reader: number, writer: number | null) {
    this.#reader = reader;
    this.#writer = writer;
  }

  /** Opens the log at its end. Null without the right to read it (needs root or CAP_SYSLOG). */
  static open(): KernelLog | null {
    let reader: number;
    try {
      reader = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);
    } catch {
      return null;
    }
    let writer: number | null = null;
    try {
      writer = openSync('/dev/kmsg', constants.O_WRONLY);
    } catch {
      // Reading may be allowed where writing is not: marks are a help, not a need.
    }
    const log = new KernelLog(reader, writer);
    log.drain();
    return log;
  }

  /** Writes a line of our own, so that the console shows which test was running when a kernel died. */
  mark(text: string): void {
    if (this.#writer !== null) writeSync(this.#writer, `<6>vfio-conformance: ${text}\n`);
  }

  /** The records since the last call, oldest first, without our own marks. */
  drain(): string[] {
    const records: string[] = [];
    for (;;) {
      let length: number;
      try {
        length = readSync(this.#reader, this.#buffer);
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === 'EPIPE') {
          records.push('(records lost: the kernel log overran its buffer)');
          continue;
        }
        if (code === 'EAGAIN') return records;
        throw error;
      }
      if (length === 0) return records;
      const text = parseRecord(this.#buffer.toString('utf8', 0, length));
      if (!text.startsWith('vfio-conformance: ')) records.push(text);
    }
  }

  close(): void {
    closeSync(this.#reader);
    if (this.#writer !== null) closeSync(this.#writer);
  }
}

/** The message of a /dev/kmsg record: `6,339,5140900,-;text`, continuation lines dropped. */
function parseRecord(record: string): string {
  const start = record.indexOf(';') + 1;
  const end = record.indexOf('\n', start);
  return record.slice(start, end === -1 ? undefined : end);
}
