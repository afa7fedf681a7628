import type { CommandModule } from 'yargs';
import { EXIT } from '../../../reports/exit-code.ts';
import { UsageError } from '../../target/errors.ts';
import { isRoot } from '../../target/local/choose-devices.ts';
import { leftoverPlans, restoreLeftovers } from '../../target/local/leftovers.ts';

export const restore: CommandModule = {
  command: 'restore',
  describe: 'put back the devices of runs that were killed or lost their machine',
  builder: (yargs) =>
    yargs.epilogue(
      'Does no harm where nothing is left. Exit codes: 0 all is as it was, 3 not all.',
    ),
  handler: () => {
    if (leftoverPlans().length > 0 && !isRoot())
      throw new UsageError('only root can put devices back', 'run it as root');
    for (const { plan, outcome, problems } of restoreLeftovers()) {
      const devices = plan.devices.map(({ bdf }) => bdf).join(', ');
      process.stdout.write(`${devices}, taken by a run of ${plan.madeAt}: ${outcome}\n`);
      for (const problem of problems) process.stdout.write(`  ${problem}\n`);
      if (problems.length > 0) process.exitCode = EXIT.setup;
    }
  },
};
