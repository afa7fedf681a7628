/**
 * Numbers that must be found at places after a run, in the order of the operations that they belong to.
 * Kept flat and for ever: a program has thousands, and the next one as many.
 */
export class Expectations {
  #places = new Int32Array(1024);
  #operations = new Int32Array(1024);
  #expected = new Float64Array(1024);
  #count = 0;

  clear(): void {
    this.#count = 0;
  }

  add(place: number, operation: number, expected: number): void {
    const index = this.#count++;
    if (index === this.#places.length) this.#grow();
    this.#places[index] = place;
    this.#operations[index] = operation;
    this.#expected[index] = expected;
  }

  /** The first that is something else, in an operation before `end`. */
  firstBroken(
    end: number,
    observe: (place: number) => number,
  ): { place: number; operation: number; expected: number } | null {
    for (let index = 0; index < this.#count; index++) {
      const place = this.#places[index]!;
      const operation = this.#operations[index]!;
      const expected = this.#expected[index]!;
      if (operation >= end) return null;
      if (observe(place) !== expected) return { place, operation, expected };
    }
    return null;
  }

  #grow(): void {
    const size = 2 * this.#places.length;
    const grown = <T extends Int32Array | Float64Array>(from: T, to: T): T => (to.set(from), to);
    this.#places = grown(this.#places, new Int32Array(size));
    this.#operations = grown(this.#operations, new Int32Array(size));
    this.#expected = grown(this.#expected, new Float64Array(size));
  }
}
