import { commandLine } from './command-line.ts';
import { EXIT } from '../../reports/exit-code.ts';
import { errorText } from './error-text.ts';
import { outliveReaders } from './lost-readers.ts';
import { UsageError } from '../target/errors.ts';

/** `vfio-conformance`: executes a command line; exit codes as in reports/exit-code.ts. */
outliveReaders(process.stdout, process.stderr);

try {
  await commandLine(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`vfio-conformance: ${errorText(error)}\n`);
  process.exitCode = error instanceof UsageError ? EXIT.usage : EXIT.setup;
}
