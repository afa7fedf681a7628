/** A line in the kernel log: what stands before it belongs to the boot. */
export const MARK = 'vfio-conformance: the reproducer begins';

/** Files that the guest leaves in its results folder. */
export const GUEST_FILES = {
  program: 'reproducer',
  output: 'output.txt',
  status: 'status',
  kernelLog: 'dmesg.txt',
} as const;

/** PCI functions and IOMMU groups that a program names. */
export function devicesOf(source: string): { functions: string[]; groups: string[] } {
  const all = (pattern: RegExp) => [
    ...new Set([...source.matchAll(pattern)].map(([, name]) => name ?? '')),
  ];
  return {
    functions: all(/\b([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\b/g),
    groups: all(/\/dev\/vfio\/(\d+)\b/g),
  };
}

/**
 * What the guest does instead of running tests: binds the groups that the program names to vfio-pci,
 * as the tests do, runs it, and leaves its output, its exit status and the kernel log.
 */
export function guestScript(source: string): string {
  const { functions, groups } = devicesOf(source);
  const { program, output, status, kernelLog } = GUEST_FILES;
  const folders = [
    ...functions.map((bdf) => `/sys/bus/pci/devices/${bdf}/iommu_group/devices/*`),
    ...groups.map((group) => `/sys/kernel/iommu_groups/${group}/devices/*`),
  ];
  return [
    `for device in ${folders.join(' ')}; do`,
    '  [ -e "$device" ] || continue',
    // Bridges keep their driver.
    '  case $(cat "$device/class") in 0x06*) continue ;; esac',
    '  name=${device##*/}',
    '  [ "$(basename "$(readlink -f "$device/driver")")" = vfio-pci ] && continue',
    '  [ -e "$device/driver" ] && echo "$name" > "$device/driver/unbind"',
    '  echo vfio-pci > "$device/driver_override"',
    '  echo "$name" > /sys/bus/pci/drivers_probe',
    'done',
    `cp "$RESULTS/${program}" /tmp/ && cd /tmp`,
    `echo '<6>${MARK}' > /dev/kmsg`,
    `./${program} > "$RESULTS/${output}" 2>&1`,
    `echo $? > "$RESULTS/${status}"`,
    // Some complaints come from a workqueue, a little later.
    'sleep 1',
    `dmesg > "$RESULTS/${kernelLog}"`,
  ].join('\n');
}

/** The kernel log from the program's start on. */
export function sinceMark(log: string): string[] {
  const lines = log.split('\n').filter((line) => line !== '');
  return lines.slice(lines.findLastIndex((line) => line.includes(MARK)) + 1);
}
