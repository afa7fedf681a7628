/** What measuring itself costs: the floor below every other figure. */
import { bench } from '../../harness/testing/index.ts';

/** Measured with every selection: it must not cost as much as what was asked for. */
const OPTIONS = { mostRounds: 10 };

bench(
  'harness.overhead',
  'an operation that does nothing: what every sample holds besides its operation',
  OPTIONS,
  (_, measure) => measure((program, timed) => timed('', program.yield())),
);

bench('harness.clock', 'one reading of the clock', OPTIONS, (_, measure) =>
  measure((program, timed) => timed('', program.clock())),
);

bench('harness.syscall', 'the cheapest system call: getppid', OPTIONS, (_, measure) =>
  measure((program, timed) => timed('', program.syscall('getppid'))),
);
