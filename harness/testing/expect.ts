import {
  ASYMMETRIC_MATCHERS_OBJECT,
  GLOBAL_EXPECT,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  customMatchers,
  setState,
  type Assertion,
  type ExpectStatic,
} from '@vitest/expect';
import * as chai from 'chai';
import { Answer } from '../kernel/answer.ts';

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);

interface KernelMatchers {
  /** The kernel refused the call with exactly this errno: `toFailWith('EEXIST')`. */
  toFailWith(errno: string): void;
  /** The kernel accepted the call; `result` also fixes the return value. */
  toSucceed(result?: number): void;
}

type Expect = Omit<ExpectStatic, never> & {
  <T>(actual: T, message?: string): Assertion<T> & KernelMatchers;
};

const vitestExpect = chai.expect as unknown as ExpectStatic & {
  extend(target: unknown, matchers: unknown): void;
};
Object.assign(vitestExpect, (globalThis as Record<symbol, unknown>)[ASYMMETRIC_MATCHERS_OBJECT]);
// The state that vitest's own expect starts with; matchers count their calls there.
Object.defineProperty(globalThis, GLOBAL_EXPECT, {
  value: vitestExpect,
  writable: true,
  configurable: true,
});
setState(
  {
    assertionCalls: 0,
    isExpectingAssertions: false,
    isExpectingAssertionsError: null,
    expectedAssertionsNumber: null,
    expectedAssertionsNumberErrorGen: null,
  },
  vitestExpect,
);
vitestExpect.extend(vitestExpect, customMatchers);

/** What the kernel answered, in the form in which expectations are written. */
function outcome(answer: Answer<unknown>): string {
  return answer.ok ? `success (${answer.result})` : String(answer.errno);
}

vitestExpect.extend(vitestExpect, {
  toFailWith(received: Answer<unknown>, errno: string) {
    return {
      pass: received instanceof Answer && received.errno === errno,
      message: () => `${received.call}: expected ${errno}, observed ${outcome(received)}`,
      actual: outcome(received),
      expected: errno,
    };
  },
  toSucceed(received: Answer<unknown>, result?: number) {
    const pass =
      received instanceof Answer &&
      received.ok &&
      (result === undefined || received.result === result);
    const wanted = result === undefined ? 'success' : `success (${result})`;
    return {
      pass,
      message: () => `${received.call}: expected ${wanted}, observed ${outcome(received)}`,
      actual: outcome(received),
      expected: wanted,
    };
  },
});

/** vitest's `expect` with matchers for the kernel's answers. */
export const expect = vitestExpect as unknown as Expect;
