import { readFileSync } from 'node:fs';

/**
 * Taint bits that mean the kernel is broken: machine check (4), bad page (5), died (7),
 * warned (9), soft lockup (14). Documentation/admin-guide/tainted-kernels.rst.
 * Out-of-tree and unsigned modules (12, 13) are how developers test, not damage.
 */
const BROKEN: readonly [bit: number, meaning: string][] = [
  [4, 'machine check'],
  [5, 'bad page'],
  [7, 'oops or BUG'],
  [9, 'warning'],
  [14, 'soft lockup'],
];

/** The broken-kernel taints set now, by meaning. */
export function brokenTaints(): string[] {
  const taint = BigInt(readFileSync('/proc/sys/kernel/tainted', 'utf8').trim());
  return BROKEN.filter(([bit]) => (taint >> BigInt(bit)) & 1n).map(([, meaning]) => meaning);
}
