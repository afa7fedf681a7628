import type { CommandModule } from 'yargs';
import { writeReports, readResults } from '../../../reports/results-directory.ts';
import { readDossier } from '../../../reports/dossier.ts';
import { renderMail } from '../../../reports/mail.ts';
import { renderKtap } from '../../../reports/ktap.ts';
import { colorsFor } from '../../../reports/terminal/style.ts';
import { renderSummary } from '../../../reports/terminal/summary.ts';
import { UsageError } from '../../target/errors.ts';
import { exitCode } from '../../../reports/exit-code.ts';

interface ReportArguments {
  directory: string;
  ktap: boolean;
  mail: boolean;
}

export const report: CommandModule<object, ReportArguments> = {
  command: 'report <directory>',
  describe: 'make all reports of a results directory again, or a mail of a dossier',
  builder: (yargs) =>
    yargs
      .positional('directory', {
        describe: 'a results directory, also of a run that was killed; with --mail a dossier',
        type: 'string',
        demandOption: true,
      })
      .option('ktap', {
        describe: 'print KTAP instead of the summary',
        type: 'boolean',
        default: false,
      })
      .option('mail', {
        describe: 'print a dossier as plain text for a kernel mailing list',
        type: 'boolean',
        default: false,
      })
      .example('$0 report --mail results/latest/dossiers/ID', 'a bug report')
      .example('$0 report results/latest', 'reports and summary of the last run')
      .epilogue("Ends with the run's own exit code; with --mail 0."),
  handler: async ({ directory, ktap, mail }) => {
    if (mail && ktap) throw new UsageError('--mail and --ktap exclude each other', 'give one');
    if (mail) {
      process.stdout.write(renderMail(readDossier(directory)));
      return;
    }
    readResults(directory);
    const results = await writeReports(directory);
    process.stdout.write(
      ktap ? renderKtap(results) : renderSummary(results, directory, colorsFor(process.stdout)),
    );
    process.exitCode = exitCode(results);
  },
};
