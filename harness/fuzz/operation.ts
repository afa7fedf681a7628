/** One step of a fuzz program: what it does is its kind's business, how it varies is in small numbers. */
export interface Operation {
  kind: string;
  /** One number for each field of the kind; 0 is the plainest choice. */
  values: readonly number[];
}

/** What a kind of operation looks like: enough to generate, shrink, print and parse programs. */
export interface Shape {
  /** How often it is chosen, relative to the other kinds, a multiple of 1/4096; 0: only by hand. */
  weight: number;
  /** Fields in the order of the values, each with the number of values it can take. */
  fields: Readonly<Record<string, number>>;
  /** The operations that one of this kind stands for, if it stands for several. */
  parts?(...values: (number | undefined)[]): Operation[];
}

export type Shapes = Readonly<Record<string, Shape>>;

/** The operations that one stands for: itself, or what its kind says. */
export function partsOf(shapes: Shapes, operation: Operation): Operation[] {
  return shapes[operation.kind]?.parts?.(...operation.values) ?? [operation];
}

/** `map at=3 pages=1`: fields that are 0 are left out. */
export function printOperation(shapes: Shapes, { kind, values }: Operation): string {
  const fields = Object.keys(shapes[kind]?.fields ?? {});
  const words = fields.flatMap((name, index) =>
    values[index] ? [`${name}=${values[index]}`] : [],
  );
  return [kind, ...words].join(' ');
}

/** One operation a `;`: what `fuzz --replay` takes, and with line breaks what a corpus file holds. */
export function printProgram(shapes: Shapes, operations: readonly Operation[]): string {
  return operations.map((operation) => printOperation(shapes, operation)).join('; ');
}

/**
 * Reads what {@link printProgram} wrote; line breaks separate as well, `#` begins a comment.
 * @throws RangeError naming the word that makes no sense
 */
export function parseProgram(shapes: Shapes, text: string): Operation[] {
  return text
    .replace(/#.*$/gm, '')
    .split(/[;\n]/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line) => parseOperation(shapes, line));
}

function parseOperation(shapes: Shapes, line: string): Operation {
  const [kind = '', ...words] = line.split(/\s+/);
  const shape = shapes[kind];
  if (!shape) {
    throw new RangeError(`there is no operation '${kind}', but ${Object.keys(shapes).join(', ')}`);
  }
  const names = Object.keys(shape.fields);
  const values = names.map(() => 0);
  for (const word of words) {
    const [, name = '', number = ''] = /^([\w-]+)=(\d+)$/.exec(word) ?? [];
    const index = names.indexOf(name);
    if (index < 0 || Number(number) >= (shape.fields[name] ?? 0)) {
      throw new RangeError(`'${word}' is no field of '${kind}', or too large a number for it`);
    }
    values[index] = Number(number);
  }
  return { kind, values };
}
