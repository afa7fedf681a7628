/** Where a side is: before which round of which benchmark; -1 is what comes before the first round. */
export interface Turn {
  bench: number;
  round: number;
}

interface Waiting extends Turn {
  side: number;
  go: () => void;
}

/**
 * Lets one side at a time use the processor, all of them round by round: a side keeps its turn until
 * it asks for the next one or leaves. Nobody goes on to a round before the others have finished the
 * one before, and who begins changes from round to round: what drifts, drifts for all.
 */
export class Turns {
  readonly #sides: Set<number>;
  #waiting: Waiting[] = [];

  constructor(sides: number) {
    this.#sides = new Set(Array.from({ length: sides }, (_, side) => side));
  }

  /** Resolves when it is the side's turn. */
  take(side: number, turn: Turn): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push({ side, ...turn, go });
      this.#next();
    });
  }

  /** Who waited for the side's turn is gone; somebody else will ask on its behalf. */
  forget(side: number): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting.side !== side);
  }

  /** The side takes no more turns. */
  leave(side: number): void {
    this.forget(side);
    this.#sides.delete(side);
    this.#next();
  }

  #next(): void {
    if (this.#waiting.length === 0 || this.#waiting.length < this.#sides.size) return;
    this.#waiting.sort(
      (a, b) =>
        a.bench - b.bench ||
        a.round - b.round ||
        (a.round % 2 === 0 ? a.side - b.side : b.side - a.side),
    );
    this.#waiting.shift()?.go();
  }
}
