import { UsageError } from '../target/errors.ts';

const UNITS: Readonly<Record<string, number>> = { M: 2 ** 20, G: 2 ** 30 };

/** Bytes of `512M` or `8G`. @throws UsageError for anything else */
export function parseSize(text: string, option: string): number {
  const match = /^(\d+)([MG])$/i.exec(text);
  const bytes = Number(match?.[1]) * (UNITS[match?.[2]?.toUpperCase() ?? ''] ?? NaN);
  if (!(bytes > 0))
    throw new UsageError(`${option} ${text} is no size`, `for example: ${option} 8G`);
  return bytes;
}
