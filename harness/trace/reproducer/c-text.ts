/** Pieces of C source: literals, strings, comments, indentation. */
import { errnoName } from '../../abi/errno.ts';
import { hex } from '../text/values.ts';

/** A number as the kernel gets it: small ones in decimal, negative ones as such. */
export function literal(value: bigint, decimal = false): string {
  const number = BigInt.asIntN(64, value);
  const suffix = number >> 31n ? 'UL' : '';
  if (number >= 0n) return `${decimal || number < 10n ? number : hex(number)}${suffix}`;
  return number > -4096n ? String(number) : `${hex(BigInt.asUintN(64, value))}UL`;
}

/** A recorded result; of an error also its name. */
export function resultLiteral(result: bigint): string {
  if (result === -(1n << 63n)) return '(-0x7fffffffffffffffLL - 1)';
  const isError = result < 0n && result >= -4095n;
  return `${result}LL${isError ? ` /* ${errnoName(Number(result))} */` : ''}`;
}

/** Puts statements where their braces say. */
export function indent(lines: readonly string[]): string[] {
  let depth = 0;
  let next = 0;
  return lines.map((line) => {
    const text = line.trim();
    if (text.startsWith('}')) depth--;
    const isLabel = /^\w+:$/.test(text);
    const result = text === '' ? '' : '\t'.repeat(isLabel ? 0 : depth + next) + text;
    next = /^(if|for|while) \(/.test(text) && !/[{;]$/.test(text) ? 1 : 0;
    if (text.endsWith('{')) depth++;
    return result;
  });
}

export function commentSafe(text: string): string {
  return text.replaceAll('*/', '* /').replaceAll('/*', '/ *').replace(/\\$/, '\\ ');
}

export function cString(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte);
    if (char === '"' || char === '\\' || char === '?') return `\\${char}`;
    return byte >= 0x20 && byte < 0x7f ? char : `\\${byte.toString(8).padStart(3, '0')}`;
  });
  return `"${bytes.join('')}"`;
}
