/**
 * Kernel log text and messages are data from outside: every report format has characters that must
 * not reach it raw.
 */

/**
 * C0 (tab and newline excepted) and C1 controls, marks that change the direction of the text around
 * them, line separators, non-characters.
 */
const UNPRINTABLE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]/g;
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** What no report may hold raw becomes a visible escape; every line break becomes a newline. */
export function printable(text: string): string {
  return linesOf(text).join('\n').replace(UNPRINTABLE, escape).replace(LONE_SURROGATE, escape);
}

/** The lines of a text, wherever it comes from. */
export function linesOf(text: string): string[] {
  return text.split(/\r\n?|\n/);
}

/** Printable text in one line: newlines and tabs become spaces. */
export function oneLine(text: string): string {
  return printable(text).replace(/[\s]+/g, ' ').trim();
}

function escape(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, '0')}`
    : `\\u${code.toString(16).padStart(4, '0')}`;
}

/** `1.234 s`, `56 ms`, `2 min 5 s`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** `1 test`, `3 tests`. */
export function count(n: number, noun: string, plural = `${noun}s`): string {
  return `${n} ${n === 1 ? noun : plural}`;
}
