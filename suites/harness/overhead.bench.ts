/** What measuring itself costs: the floor below every other figure. */
import { bench } from '../../harness/testing/index.ts';

bench(
  'harness.overhead',
  'an operation that does nothing: what every sample holds besides its operation',
  {},
  (_, measure) => measure((program, timed) => timed('', program.yield())),
);

bench('harness.clock', 'one reading of the clock', {}, (_, measure) =>
  measure((program, timed) => timed('', program.clock())),
);

bench('harness.syscall', 'the cheapest system call: getppid', {}, (_, measure) =>
  measure((program, timed) => timed('', program.syscall('getppid'))),
);
