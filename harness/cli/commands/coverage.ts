import type { CommandModule } from 'yargs';
import { coverageOf, isIncomplete, renderCoverage } from '../../../reports/coverage.ts';
import { EXIT } from '../../../reports/exit-code.ts';
import { didYouMean } from '../../runner/suggest.ts';
import { UsageError } from '../../target/errors.ts';
import { coverageGoal } from '../coverage-goal.ts';
import { listTests } from '../test-list.ts';

interface CoverageArguments {
  suite?: string;
  json: boolean;
  strict: boolean;
}

export const coverage: CommandModule<object, CoverageArguments> = {
  command: 'coverage',
  describe: 'which tests cover which item of the uAPI, and what has none',
  builder: (yargs) =>
    yargs
      .option('suite', {
        describe: 'only the items that belong to this suite',
        type: 'string',
        requiresArg: true,
      })
      .option('json', {
        describe: 'as JSON, with all tests of each item',
        type: 'boolean',
        default: false,
      })
      .option('strict', {
        describe:
          'exit code 1 if an item has neither a test nor a reason in expectations/uncovered.txt',
        type: 'boolean',
        default: false,
      })
      .example('$0 coverage --suite container', 'what of a container is tested')
      .example(
        "$0 coverage --json | jq -r '.rows[] | select(.tests == [] and .reason == null).item'",
        'the gaps',
      ),
  handler: async ({ suite, json, strict }) => {
    const tests = await listTests();
    const suites = [...new Set(tests.map((test) => test.suite))];
    if (suite !== undefined && !suites.includes(suite)) {
      throw new UsageError(
        `there is no suite '${suite}'`,
        didYouMean(suite, suites) || `give one of ${suites.join(', ')}`,
      );
    }
    const { uapi, reasons } = await coverageGoal();
    const table = coverageOf(uapi, tests, reasons, suite);
    process.stdout.write(json ? JSON.stringify(table, null, 2) + '\n' : renderCoverage(table));
    if (strict && isIncomplete(table)) process.exitCode = EXIT.failures;
  },
};
