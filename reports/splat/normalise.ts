/** Kernel messages without what differs from run to run, so that the same bug has the same name. */

/** What printk and the console put before a message: level, time, caller. */
const PREFIX = /^\s*(?:<\d+>)?(?:\[\s*\d+\.\d+\]\s?)?(?:\[\s*[TC]\d+\]\s?)?/;

/** The message of a line of the console or of dmesg; a record of /dev/kmsg stays as it is. */
export function stripPrefix(line: string): string {
  return line.replace(PREFIX, '').trimEnd();
}

const RULES: readonly [RegExp, string][] = [
  // Before the hexadecimal numbers go: a symbol's offset and size change with every build.
  [/\b([A-Za-z_][\w.]*)\+0x[0-9a-f]+\/0x[0-9a-f]+/g, '$1'],
  [/(\w)\.(?:isra|part|constprop|cold)(?:\.\d+)?\b/g, '$1'],
  [/\b[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b/gi, 'BDF'],
  [/\b0x[0-9a-f]+\b/gi, 'N'],
  [/\b(?=[a-f]*\d)[0-9a-f]{8,16}\b/gi, 'N'],
  [/\bCPU[#:]? ?\d+\b/gi, 'CPU'],
  [/\bPID: ?\d+\b/gi, 'PID'],
  [/\bcpu \d+\b/g, 'cpu'],
  [/([\w./-]+\.[chS]):\d+(?::\d+)?/g, '$1'],
  [/\b([\w-]+)\/\d+\b/g, '$1'],
  [/\[([\w:.-]+):\d+\]/g, '[$1]'],
  [/\b\d+ ?(?:s|ms|seconds)\b/g, 'N s'],
  [/\[#\d+\]/g, ''],
  [/\s+/g, ' '],
];

/** Without time stamps, addresses, offsets, pids, CPU numbers, line numbers and PCI addresses. */
export function normalise(text: string): string {
  return RULES.reduce(
    (result, [pattern, by]) => result.replace(pattern, by),
    stripPrefix(text),
  ).trim();
}
