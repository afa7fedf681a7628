import { commandLine } from './command-line.ts';
import { EXIT } from '../../reports/exit-code.ts';
import { outliveReaders } from './lost-readers.ts';
import { isActionable, UsageError } from '../target/errors.ts';

/** `vfio-conformance`: executes a command line; exit codes as in reports/exit-code.ts. */
outliveReaders(process.stdout, process.stderr);

try {
  await commandLine(process.argv.slice(2));
} catch (error) {
  const text = isActionable(error)
    ? error.message
    : `${error instanceof Error ? error.stack : String(error)}\n  next: this is a defect of the harness; please report it with the text above`;
  process.stderr.write(`vfio-conformance: ${text}\n`);
  process.exitCode = error instanceof UsageError ? EXIT.usage : EXIT.setup;
}
