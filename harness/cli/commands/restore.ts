import type { CommandModule } from 'yargs';
import { EXIT } from '../../../reports/exit-code.ts';
import { UsageError } from '../../target/errors.ts';
import { isRoot } from '../../target/local/choose-devices.ts';
import { damage, leftoverPlans, restoreLeftovers } from '../../target/local/leftovers.ts';
import { damagedPlans, isOwned, storedPlans, type Plan } from '../../target/local/plan-store.ts';

export const restore: CommandModule = {
  command: 'restore',
  describe: 'put back the devices of runs that were killed or lost their machine',
  builder: (yargs) =>
    yargs.epilogue(
      'Does no harm where nothing is left. Exit codes: 0 all is as it was, 3 not all.',
    ),
  handler: async () => {
    if (leftoverPlans().length > 0 && !isRoot())
      throw new UsageError('only root can put devices back', 'run it as root');
    for (const plan of storedPlans()
      .map((stored) => stored.plan)
      .filter(isOwned))
      say(plan, `it goes on as process ${plan.pid} and gives them back at its end`);
    for (const file of damagedPlans()) {
      process.stdout.write(`${damage(file)}\n`);
      process.exitCode = EXIT.setup;
    }
    for (const { plan, outcome, problems } of await restoreLeftovers()) {
      say(plan, outcome);
      for (const problem of problems) process.stdout.write(`  ${problem}\n`);
      if (problems.length > 0) process.exitCode = EXIT.setup;
    }
  },
};

function say({ devices, madeAt }: Plan, what: string): void {
  const names = devices.map(({ bdf }) => bdf).join(', ');
  process.stdout.write(`${names}, taken by a run of ${madeAt}: ${what}\n`);
}
