import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Argv, CommandModule } from 'yargs';
import { projectFolder } from '../../../setup/paths.mjs';
import { auditsBySuite, percentNoticed, renderAudit } from '../../../reports/audit.ts';
import { EXIT } from '../../../reports/exit-code.ts';
import { Journal, JOURNAL_FILE } from '../../../reports/journal.ts';
import { makeResultsDirectory } from '../../../reports/results-directory.ts';
import { audit as auditTests } from '../../runner/audit.ts';
import { readAuditExceptions } from '../../runner/audit-exceptions.ts';
import { selectTests, spoilersLast } from '../../runner/select.ts';
import { prepareTarget, targetNames } from '../choose-target.ts';
import type { Target } from '../../target/target.ts';
import { giveBack } from '../giving-back.ts';
import { interruption } from '../interruption.ts';
import { checkRunArguments, runBuilder, type RunArguments } from '../run-options.ts';
import { listTests } from '../test-list.ts';

type AuditArguments = RunArguments & { most: number; 'at-least': number };

const DEFAULT_MOST = 12;

export const audit: CommandModule<object, AuditArguments> = {
  command: 'audit [ids..]',
  describe: 'lie to each test about one answer of the kernel at a time: which lies go unnoticed?',
  builder: (yargs: Argv) =>
    runBuilder(yargs)
      .option('most', {
        describe: 'lies a test, spread over its calls',
        type: 'number',
        requiresArg: true,
        default: DEFAULT_MOST,
      })
      .option('at-least', {
        describe: 'per cent of the lies that each suite must notice, else exit code 1',
        type: 'number',
        requiresArg: true,
        default: 0,
      }) as Argv<AuditArguments>,
  handler: async (args) => {
    checkRunArguments(args);
    const names = targetNames(args);
    const tests = spoilersLast(selectTests(await listTests(), args.ids ?? []));
    const signals = interruption((name) => process.stderr.write(`${name}: ending the audit\n`));
    const directory = makeResultsDirectory(args.results, `audit-${names.kernel}`, new Date());
    const journal = new Journal(join(directory, JOURNAL_FILE));
    let target: Target | undefined;
    try {
      const say = (text: string) => process.stderr.write(`${text}\n`);
      target = await prepareTarget(args, directory, say);
      let done = 0;
      const audits = await auditTests({
        target,
        tests,
        most: args.most,
        exceptions: readAuditExceptions(join(projectFolder, 'expectations/audit-exceptions.txt')),
        timeoutScale: args['timeout-scale'] * target.timeoutScale,
        signal: signals.signal,
        record: (event) => {
          journal.append(event);
          if (event.type === 'audit-end' && !args.quiet) {
            say(`[${++done}/${tests.length}] ${event.id}`);
          }
        },
      });
      writeFileSync(join(directory, 'audit.json'), JSON.stringify({ schema: 1, audits }, null, 2));
      writeFileSync(join(directory, 'audit.txt'), renderAudit(audits));
      process.stdout.write(
        `${renderAudit(audits)}Reports: ${directory}/ (audit.json, audit.txt)\n`,
      );
      const percents = auditsBySuite(audits).map(([, own]) => percentNoticed(own));
      if (percents.some((percent) => percent < args['at-least'])) process.exitCode = EXIT.failures;
    } finally {
      journal.close();
      if (target) giveBack([target]);
      signals.release();
    }
  },
};
