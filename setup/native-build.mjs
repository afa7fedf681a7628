import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { projectFolder } from './paths.mjs';
import { run, tryRun } from './shell.mjs';

/**
 * Builds the shim; make decides whether there is anything to do.
 * @param {(text: string) => void} progress
 */
export async function buildNative(progress) {
  const native = join(projectFolder, 'native');
  const made = existsSync(join(native, 'build'));
  if (made && (await tryRun('make', ['-q', '-C', native])).status === 0) return;
  await withLock(join(projectFolder, 'dist/native-build.lock'), async () => {
    progress('building the shim');
    await run('make', ['-s', '-C', native], { next: 'mend the error that the compiler names' });
  });
}
