import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { isPackage, projectFolder } from './paths.mjs';
import { hasCommand, run, tryRun } from './shell.mjs';

const native = join(projectFolder, 'native');

/** Whether the package brings a shim for this architecture along. */
export function hasPrebuiltShim() {
  return isPackage && existsSync(join(native, 'prebuilt', process.arch));
}

/**
 * Builds the shim; make decides whether there is anything to do. With a prebuilt one it is enough to
 * try: without a compiler, or in a folder of somebody else's, that one is used.
 * @param {(text: string) => void} progress
 */
export async function buildNative(progress) {
  if (hasPrebuiltShim() && !(hasCommand('gcc') && hasCommand('make') && isWritable(native))) return;
  const made = existsSync(join(native, 'build'));
  if (made && (await tryRun('make', ['-q', '-C', native])).status === 0) return;
  await withLock(join(projectFolder, 'dist/native-build.lock'), async () => {
    progress('building the shim');
    const make = hasPrebuiltShim() ? tryRun : run;
    await make('make', ['-s', '-C', native], { next: 'mend the error that the compiler names' });
  });
}

/** @param {string} folder */
function isWritable(folder) {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
