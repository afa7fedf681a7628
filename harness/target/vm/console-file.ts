import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

/** More than a boot and a long oops; a kernel that floods its console does not fill the memory. */
const MOST = 1_000_000;

/**
 * What a guest has printed on its console since it was started. QEMU appends to the file itself: a
 * socket would lose characters whenever its reader is late by a few hundred bytes.
 */
export class ConsoleFile {
  readonly path: string;
  readonly #start: number;

  /** Earlier guests of the same run may have written to the file before. */
  constructor(path: string) {
    this.path = path;
    this.#start = existsSync(path) ? statSync(path).size : 0;
  }

  /** A position for {@link text}: all that is printed from now on. */
  position(): number {
    return existsSync(this.path) ? statSync(this.path).size : this.#start;
  }

  /** What was printed since a position, or since the start; of very much only the end. */
  text(since = this.#start): string {
    if (!existsSync(this.path)) return '';
    const fd = openSync(this.path, 'r');
    try {
      const { size } = fstatSync(fd);
      const from = Math.max(since, size - MOST);
      const bytes = Buffer.alloc(Math.max(0, size - from));
      const length = readSync(fd, bytes, 0, bytes.length, from);
      return bytes.toString('latin1', 0, length);
    } finally {
      closeSync(fd);
    }
  }
}
