/** Numbers, flags and bytes as text, the way strace writes them. */
import type { Names } from '../../abi/struct.ts';

export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

function bitCount(value: number): number {
  let bits = 0;
  for (let rest = BigInt(value); rest > 0n; rest >>= 1n) bits += Number(rest & 1n);
  return bits;
}

/** The entries of sets of flags, those of several bits first: they would hide behind their bits. */
const entriesByWidth = new WeakMap<Names, { name: string; mask: bigint }[]>();

function byWidth(names: Names): { name: string; mask: bigint }[] {
  let entries = entriesByWidth.get(names);
  if (!entries) {
    entries = Object.entries(names)
      .filter(([, bits]) => bits !== 0)
      .sort(([, a], [, b]) => bitCount(b) - bitCount(a))
      .map(([name, bits]) => ({ name, mask: BigInt(bits) }));
    entriesByWidth.set(names, entries);
  }
  return entries;
}

/** `A|B|0x100`: names of the bits that have one, the rest as a number; `zero` for none. */
export function flagNames(value: bigint, names: Names, zero = '0'): string {
  const parts: string[] = [];
  let rest = value;
  for (const { name, mask } of byWidth(names)) {
    if (rest === 0n) break;
    if ((rest & mask) !== mask) continue;
    parts.push(name);
    rest &= ~mask;
  }
  if (parts.length > 1) parts.sort((a, b) => (names[a] ?? 0) - (names[b] ?? 0));
  if (rest !== 0n) parts.push(hex(rest));
  return parts.length > 0 ? parts.join('|') : zero;
}

/** The name of the value, or the number. */
export function valueName(value: number | bigint, names: Names): string {
  const number = Number(value);
  return Object.keys(names).find((name) => names[name] === number) ?? String(value);
}

const MAX_BYTES = 32;

/** Up to eight bytes as one number in the machine's order, more as hex digits. */
export function byteText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if ([1, 2, 4, 8].includes(buffer.length)) {
    const number = [...buffer].reverse().reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    return hex(number);
  }
  const shown = buffer
    .subarray(0, MAX_BYTES)
    .toString('hex')
    .replace(/..(?=.)/g, '$& ');
  return `[${shown}${buffer.length > MAX_BYTES ? ' ...' : ''}]`;
}
