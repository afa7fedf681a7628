import { test as vitestTest } from '@vitest/runner';
import { casesOf, type TestOptions } from './declare.ts';
import { runCase } from './execute.ts';
import { register, type TestBody } from './registry.ts';

/**
 * Declares a test: one promise of the kernel's.
 * @param id stable for ever, dotted, the suite first: `container.map-dma.overlap`.
 * @param title the promise as a sentence of the specification.
 */
export function test(id: string, title: string, options: TestOptions, body: TestBody): void {
  for (const declared of casesOf(id, title, options)) {
    const testCase = { ...declared, body };
    register(testCase);
    vitestTest(testCase.meta.id, { timeout: testCase.meta.timeoutMs }, ({ skip }) => {
      const outcome = runCase(testCase);
      if (outcome.status === 'skip') skip(outcome.skip.join('; '));
      if (outcome.failure) throw new Error(outcome.failure.message);
    });
  }
}
