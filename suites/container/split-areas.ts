/** The memory of which it is measured where the time of mapping goes. */
const MIB = 1 << 20;

export const SPLIT_AREAS = [
  { kind: '4k', size: 4096, name: '4KiB' },
  { kind: '4k', size: 65536, name: '64KiB' },
  { kind: '4k', size: 2 * MIB, name: '2MiB' },
  { kind: '4k', size: 64 * MIB, name: '64MiB' },
  { kind: 'thp', size: 2 * MIB, name: '2MiB' },
  { kind: 'thp', size: 64 * MIB, name: '64MiB' },
] as const;

/** Axes and units of a benchmark of such an area. */
export function splitOptions({ kind, size }: (typeof SPLIT_AREAS)[number]) {
  return {
    parameters: { size, pages: kind },
    units: { bytes: size, pages: size / (kind === 'thp' ? 2 * MIB : 4096) },
  };
}
