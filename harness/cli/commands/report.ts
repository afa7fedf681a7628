import { join } from 'node:path';
import type { CommandModule } from 'yargs';
import { HTML_FILE, writeReports, readResults } from '../../../reports/results-directory.ts';
import { readDossier } from '../../../reports/dossier.ts';
import { renderMail } from '../../../reports/mail.ts';
import { renderKtap } from '../../../reports/ktap.ts';
import { findBenches } from '../../../reports/html/benches.ts';
import { findRuns } from '../../../reports/runs.ts';
import { colorsFor } from '../../../reports/terminal/style.ts';
import { renderSummary } from '../../../reports/terminal/summary.ts';
import { UsageError } from '../../target/errors.ts';
import { exitCode } from '../../../reports/exit-code.ts';
import { writeOwnPage, writePage } from '../html-page.ts';
import { writeFunctions } from '../write-functions.ts';

interface ReportArguments {
  directories: string[];
  html: boolean;
  output?: string;
  ktap: boolean;
  mail: boolean;
}

export const report: CommandModule<object, ReportArguments> = {
  command: 'report <directories..>',
  describe: 'the reports of a results directory again, one page of many, or a mail of a dossier',
  builder: (yargs) =>
    yargs
      .positional('directories', {
        describe:
          'a results directory, also of a run that was killed; with --html any number of them, or ' +
          'folders that hold some; with --mail a dossier',
        type: 'string',
        array: true,
        demandOption: true,
      })
      .option('html', {
        describe: 'write one HTML page of all these runs and print its path',
        type: 'boolean',
        default: false,
      })
      .option('output', {
        describe: 'where the page goes',
        type: 'string',
        requiresArg: true,
        implies: 'html',
        defaultDescription: `${HTML_FILE} in the results directory, or here if there are several`,
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
      .example('$0 report results --html', 'all runs so far in one page')
      .epilogue("Ends with the run's own exit code; with --mail and --html 0."),
  handler: async ({ directories, html, output, ktap, mail }) => {
    if ([html, mail, ktap].filter(Boolean).length > 1) {
      throw new UsageError('--html, --mail and --ktap exclude each other', 'give one');
    }
    const [directory = '', ...others] = directories;
    if (html) {
      const runs = findRuns(directories);
      const benches = findBenches(directories);
      const [only, ...more] = [...runs, ...benches];
      const inside = only && more.length === 0 ? join(only.directory, HTML_FILE) : HTML_FILE;
      const path = output ?? inside;
      await writePage(path, { runs, benches });
      process.stdout.write(`${path}\n`);
      return;
    }
    if (others.length > 0) {
      throw new UsageError(
        'only --html makes one report of several directories',
        'name one, or add --html',
      );
    }
    if (mail) {
      process.stdout.write(renderMail(readDossier(directory)));
      return;
    }
    readResults(directory);
    const results = await writeReports(directory);
    writeFunctions(directory);
    await writeOwnPage({ directory, results });
    process.stdout.write(
      ktap ? renderKtap(results) : renderSummary(results, directory, colorsFor(process.stdout)),
    );
    process.exitCode = exitCode(results);
  },
};
