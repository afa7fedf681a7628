/**
 * The kernel answered what the header rules out, whoever asks: a verdict about the kernel, though no
 * test asked for it.
 */
export class ImpossibleAnswer extends Error {
  readonly expected: string;
  readonly actual: string;

  /** @param what whose answer it is; the message begins with it. */
  constructor(what: string, expected: string, actual: string) {
    super(`${what}: expected ${expected}, observed ${actual}`);
    this.name = 'ImpossibleAnswer';
    this.expected = expected;
    this.actual = actual;
  }
}
