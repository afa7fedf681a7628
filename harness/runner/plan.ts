import type { RunBegin } from '../../reports/journal.ts';
import type { TestMeta } from '../protocol/test.ts';
import type { Target } from '../target/target.ts';
import { readExpectations } from './expectations.ts';

export interface PlanOptions {
  target: Pick<Target, 'describe' | 'timeoutScale'>;
  /** In the order in which to run them; with `shard` those of all shards. */
  tests: TestMeta[];
  shard?: RunBegin['shard'];
  expectationsDirectory: string;
  /** Kernel release as far as it is known before the boot. */
  kernel: string;
  machine: string;
  version: string;
  command: string[];
  /** Command and options, to which ids are appended to run them again. */
  rerun: string;
  timeoutScale: number;
  seed: string | null;
}

/** A run before it begins: the first line of its journal. */
export function planRun(options: PlanOptions): RunBegin {
  const { target, tests, expectationsDirectory, timeoutScale, ...rest } = options;
  const expectations = readExpectations(expectationsDirectory, options.kernel, options.machine);
  const expected = tests.flatMap((test) => {
    const expectation = expectations.of(test.id);
    return expectation ? [[test.id, expectation] as const] : [];
  });
  return {
    type: 'run-begin',
    schema: 1,
    ...rest,
    target: target.describe(),
    timeoutScale: timeoutScale * target.timeoutScale,
    tests,
    expectationFiles: expectations.files,
    expectations: Object.fromEntries(expected),
  };
}
