/** Columns of text: the first to the left, the others to the right; trailing blanks are cut off. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

const UNITS = [
  [1e9, 's'],
  [1e6, 'ms'],
  [1e3, 'µs'],
] as const;

/** `1.23 µs` of nanoseconds: three significant digits. */
export function latency(ns: number): string {
  const [factor, unit] = UNITS.find(([size]) => ns >= size) ?? [1, 'ns'];
  const value = ns / factor;
  return `${value < 1000 ? Number(value.toPrecision(3)) : Math.round(value)} ${unit}`;
}
