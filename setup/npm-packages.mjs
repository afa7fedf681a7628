import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { withLock } from './lock.mjs';
import { projectFolder } from './paths.mjs';
import { run } from './shell.mjs';

/**
 * Installs the npm packages of package-lock.json, unless node_modules holds exactly those.
 * @param {(text: string) => void} progress
 */
export async function installNpmPackages(progress) {
  if (isUpToDate()) return;
  await withLock(
    join(projectFolder, 'dist/npm-packages.lock'),
    async () => {
      if (isUpToDate()) return;
      progress('installing the npm packages');
      await run('npm', ['ci', '--no-audit', '--no-fund'], {
        cwd: projectFolder,
        next: 'check that npm reaches its registry, then try again',
      });
    },
    (holder) => progress(`waiting for process ${holder}, which is installing the npm packages`),
  );
}

/** npm leaves its own account of what it installed: compared entry by entry with the lock file. */
function isUpToDate() {
  const installed = join(projectFolder, 'node_modules/.package-lock.json');
  if (!existsSync(installed)) return false;
  /** @typedef {Record<string, {version?: string, integrity?: string, optional?: boolean}>} Packages */
  const read = (/** @type {string} */ file) =>
    /** @type {Packages} */ (JSON.parse(readFileSync(file, 'utf8')).packages ?? {});
  const have = read(installed);
  const want = read(join(projectFolder, 'package-lock.json'));
  return Object.entries(want).every(
    ([path, { version, optional }]) =>
      path === '' ||
      have[path]?.version === version ||
      // Builds for other platforms are in the lock file and not on the disk.
      (optional && have[path] === undefined),
  );
}
