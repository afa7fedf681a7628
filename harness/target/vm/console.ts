/** What the console says when Linux has died. */
const PANIC = /Kernel panic - not syncing: .*/;
/**
 * Signs that QEMU broke, not the kernel: on its stderr or, for the boot check of the timer that an
 * overloaded host makes fail, on the console.
 */
const QEMU_BROKE = [
  /iotlb_to_section/,
  /MMIO over range/,
  /Assertion .* failed/,
  /^qemu-system-\S+: .*(?:assert|abort)/m,
  /ERROR:.*code should not be reached/,
];
const BOOT_BROKE = [
  /timer doesn't work through Interrupt-remapped IO-APIC/,
  /IO-APIC \+ timer doesn't work/,
];

/** The panic's message, if there was one. */
export function findPanic(console: string): string | undefined {
  return PANIC.exec(console)?.[0].trim();
}

/** The line that shows that the emulator is at fault. */
export function findEmulatorFault(stderr: string, console: string): string | undefined {
  for (const pattern of QEMU_BROKE) if (pattern.test(stderr)) return lineWith(stderr, pattern);
  for (const pattern of BOOT_BROKE) if (pattern.test(console)) return lineWith(console, pattern);
  return undefined;
}

/** The last lines of a console, without carriage returns and escape sequences. */
export function lastLines(console: string, count: number): string[] {
  return (
    console
      .slice(-count * 400)
      // eslint-disable-next-line no-control-regex -- escape sequences are control characters
      .replace(/\x1b\[[0-9;?]*[A-Za-z]|\r/g, '')
      .split('\n')
      .filter((line) => line.trim() !== '')
      .slice(-count)
  );
}

function lineWith(text: string, pattern: RegExp): string {
  return (
    text
      .split('\n')
      .find((line) => pattern.test(line))
      ?.trim() ?? ''
  );
}
