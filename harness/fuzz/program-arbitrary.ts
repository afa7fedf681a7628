import { Arbitrary, Stream, Value, type Random } from 'fast-check';
import { partsOf, type Operation, type Shapes } from './operation.ts';
import { seededNumbers } from './random.ts';

/** Parts of a weight of 1: kinds may be as rare as that. */
const PARTS = 4096;

/** A kind that programs are made of. */
interface Choice {
  kind: string;
  limits: readonly number[];
  /** It is chosen by numbers below this, and not below that of the choice before. */
  below: number;
}

/** How far the shrinking of a program has come: the size of the pieces that are left out next. */
interface ShrinkContext {
  piece: number;
}

/**
 * Programs as one value of fast-check's: a whole batch is generated at once from one number of the
 * random source (a number of its own for each field would cost more than the system calls), and
 * shrunk in large pieces first.
 */
export class ProgramArbitrary extends Arbitrary<readonly Operation[]> {
  readonly #shapes: Shapes;
  readonly #longest: number;
  readonly #choices: readonly Choice[];

  /** @param longest operations in a program at most; most programs have about as many. */
  constructor(shapes: Shapes, longest: number) {
    super();
    this.#shapes = shapes;
    this.#longest = longest;
    let below = 0;
    this.#choices = Object.entries(shapes).map(([kind, { weight, fields }]) => ({
      kind,
      limits: Object.values(fields),
      below: (below += PARTS * weight),
    }));
  }

  generate(random: Random): Value<readonly Operation[]> {
    const next = seededNumbers(random.nextInt());
    const choices = this.#choices;
    const numbers = choices.at(-1)!.below;
    // Short programs now and then: a state that only a fresh beginning has.
    const longest = next(8) === 0 ? Math.min(16, this.#longest) : this.#longest;
    const length = 1 + Math.floor(longest / 2) + next(Math.ceil(longest / 2));
    const operations = new Array<Operation>(length);
    for (let index = 0; index < length; index++) {
      const number = next(numbers);
      let choice = 0;
      while (choices[choice]!.below <= number) choice++;
      const { kind, limits } = choices[choice]!;
      const values = new Array<number>(limits.length);
      for (let field = 0; field < limits.length; field++) values[field] = next(limits[field]!);
      operations[index] = { kind, values };
    }
    return new Value(operations, undefined);
  }

  canShrinkWithoutContext(value: unknown): value is readonly Operation[] {
    return Array.isArray(value);
  }

  shrink(operations: readonly Operation[], context: unknown): Stream<Value<readonly Operation[]>> {
    const piece = (context as ShrinkContext | undefined)?.piece ?? operations.length;
    return new Stream(this.#smaller(operations, Math.min(piece, operations.length)));
  }

  /** First without ever smaller pieces, from the end; then in finer parts, then with plainer numbers. */
  *#smaller(
    operations: readonly Operation[],
    largest: number,
  ): Generator<Value<readonly Operation[]>> {
    for (let piece = largest; piece >= 1; piece = Math.floor(piece / 2)) {
      for (let end = operations.length; end > 0; end -= piece) {
        const start = Math.max(0, end - piece);
        const rest = [...operations.slice(0, start), ...operations.slice(end)];
        yield new Value(rest, { piece } satisfies ShrinkContext);
      }
    }
    const parts = operations.flatMap((operation) => partsOf(this.#shapes, operation));
    if (parts.length > operations.length) yield new Value(parts, undefined);
    for (const [index, { kind, values }] of operations.entries()) {
      for (const [field, value] of values.entries()) {
        for (const plainer of plainerThan(value)) {
          const changed = [...operations];
          changed[index] = { kind, values: values.with(field, plainer) };
          yield new Value(changed, { piece: 1 } satisfies ShrinkContext);
        }
      }
    }
  }

  /**
   * A program near to `parent`: some of its operations replaced by those of `other`, doubled or left
   * out, as the seed says.
   */
  vary(
    parent: readonly Operation[],
    other: readonly Operation[],
    seed: number,
  ): readonly Operation[] {
    const next = seededNumbers(seed + 1);
    const varied = [...parent];
    for (let changes = 1 + next(8); changes > 0; changes--) {
      const at = next(varied.length + 1);
      const fresh = other[next(other.length)]!;
      const old = varied[at];
      switch (next(4)) {
        case 0:
          varied.splice(at, 0, fresh);
          break;
        case 1:
          varied.splice(at, 1);
          break;
        case 2:
          if (old) varied.splice(next(varied.length + 1), 0, old);
          break;
        default:
          if (old) varied[at] = fresh;
      }
    }
    return varied.slice(0, this.#longest);
  }
}

function plainerThan(value: number): number[] {
  return value === 0 ? [] : [...new Set([0, value >> 1, value - 1])];
}
