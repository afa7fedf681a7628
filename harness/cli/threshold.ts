import { UsageError } from '../target/errors.ts';

/** `--threshold` of every command that compares benchmarks. */
export const THRESHOLD_OPTION = {
  describe: 'per cent from which on a difference counts; exit code 1 if something is slower by it',
  type: 'number',
  requiresArg: true,
  default: 5,
} as const;

/** @throws UsageError */
export function checkThreshold(threshold: number): void {
  if (threshold > 0) return;
  throw new UsageError('--threshold is not a number above 0', 'for example: --threshold 5');
}
