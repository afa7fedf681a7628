import { DASH_VALUES } from './run-options.ts';

/** `--qemu-arg -d` → `--qemu-arg=-d`: the value of such an option is a value, dash or not. */
export function joinDashValues(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? '';
    const value = args[i + 1];
    if (DASH_VALUES.includes(arg) && value !== undefined) {
      joined.push(`${arg}=${value}`);
      i += 1;
    } else {
      joined.push(arg);
    }
  }
  return joined;
}
