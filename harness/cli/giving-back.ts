import { EXIT } from '../../reports/exit-code.ts';
import { notPutBack } from '../target/not-put-back.ts';
import type { Target } from '../target/target.ts';

/** Gives back what was taken for targets; says so, and ends in an error, where that is not possible. */
export function giveBack(targets: readonly Target[]): void {
  const problems = targets.flatMap((target) => target.release());
  if (problems.length === 0) return;
  process.stderr.write(`vfio-conformance: ${notPutBack(problems)}\n`);
  process.exitCode = EXIT.setup;
}
