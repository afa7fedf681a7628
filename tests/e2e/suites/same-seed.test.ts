/** The search of a fuzzer in a kernel that is broken, repeated: nothing but the seed decides what comes of it. */
import './planted.fuzz.ts';
import { expect, test } from '../../../harness/testing/index.ts';
import { printProgram } from '../../../harness/fuzz/operation.ts';
import { search } from '../../../harness/fuzz/search.ts';
import { fuzzerOf, onStage } from '../../../harness/testing/fuzz.ts';

const TIMES = 20;
const SEED = 2;

for (const bug of ['takes-any-vaddr', 'shows-the-hardware', 'signals-twice', 'leaks-an-errno']) {
  const fuzzer = fuzzerOf(`e2e.planted.${bug}`)!;
  test(
    `e2e.same-seed.${bug}`,
    `a seed gives the same program, the same verdict and the same shortest program ${TIMES} times`,
    {
      source: 'docs/fuzzing.md',
      timeoutMs: 300_000,
      ...(fuzzer.device && { device: fuzzer.device }),
    },
    (context) => {
      const findings = Array.from({ length: TIMES }, () =>
        onStage(context, fuzzer, (stage) => search(fuzzer, stage, { seed: SEED, from: 0, to: 1 })),
      );
      const told = findings.map((finding) => ({
        ...finding,
        found: printProgram(fuzzer.kinds, finding?.found ?? []),
        shortest: printProgram(fuzzer.kinds, finding?.shortest ?? []),
      }));
      expect(findings[0]?.repeatable).toBe(true);
      expect(told).toEqual(told.map(() => told[0]));
    },
  );
}
