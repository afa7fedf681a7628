import { tryRun } from '../../../setup/shell.mjs';
import { SetupError } from '../../target/errors.ts';

/** As strict as the programs are meant to be compiled. */
const FLAGS = ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-pthread'];

/** Makes the program of a dossier. @throws SetupError with the compiler's words */
export async function compileReproducer(source: string, program: string): Promise<void> {
  const { status, stderr } = await tryRun('gcc', [...FLAGS, '-o', program, source]);
  if (status === 0) return;
  throw new SetupError(
    `${source} does not compile:\n${stderr.trim()}`,
    status === 127
      ? 'install gcc'
      : 'report this as a defect of vfio-conformance, with the dossier',
  );
}
