import { commandLine } from './command-line.ts';
import { EXIT } from '../../reports/exit-code.ts';
import { isActionable, UsageError } from '../target/errors.ts';

/** `vfio-conformance`: executes a command line; exit codes as in reports/exit-code.ts. */
// `list | head`: nobody reads any more, which is no defect.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

try {
  await commandLine(process.argv.slice(2));
} catch (error) {
  const text = isActionable(error)
    ? error.message
    : `${error instanceof Error ? error.stack : String(error)}\n  next: this is a defect of the harness; please report it with the text above`;
  process.stderr.write(`vfio-conformance: ${text}\n`);
  process.exitCode = error instanceof UsageError ? EXIT.usage : EXIT.setup;
}
