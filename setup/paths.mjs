import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout that this file belongs to. */
export const projectFolder = findProject(dirname(fileURLToPath(import.meta.url)));

/** Everything that was fetched or made once and serves every checkout: kernels, headers, apt lists. */
export const cacheFolder = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'vfio-conformance',
);

/**
 * These modules run from `setup/` and, bundled, from `dist/`: both lie one level below the project.
 * @param {string} here
 */
function findProject(here) {
  return dirname(here);
}
