/** A test that takes more memory than it says. */
import { expect, test } from '../../../../harness/testing/index.ts';

test(
  'e2e.greedy',
  'a gibibyte is filled',
  { source: 'tests/e2e/bare-metal/suites/greedy.test.ts', devices: ['edu'], timeoutMs: 600_000 },
  ({ pci }) => {
    const taken = Array.from({ length: 64 }, () => Buffer.alloc(16 << 20, 1));
    expect(taken.length, pci.bdf).toBe(64);
  },
);
