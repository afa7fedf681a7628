import type { RunResults } from './results.ts';
import { printable } from './text.ts';

/** `kernel.log`: what the kernel said during each test, under the test's name. */
export function renderKernelLog(results: RunResults): string {
  return results.tests
    .filter((test) => test.kernelLog.length > 0)
    .map((test) =>
      [`== ${test.id}: ${test.status}`, ...test.kernelLog.map(printable), ''].join('\n'),
    )
    .join('\n');
}
