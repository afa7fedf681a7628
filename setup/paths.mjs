import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout that this file belongs to. */
export const projectFolder = findProject(dirname(fileURLToPath(import.meta.url)));

/** Whether it is an installed package, which has bundles in the place of sources. */
export const isPackage = !existsSync(join(projectFolder, 'harness/cli/main.ts'));

/** Everything that was fetched or made once and serves every checkout: kernels, headers, apt lists. */
export const cacheFolder = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'vfio-conformance',
);

/** The worker with its suites; the project's own end-to-end tests put one with other suites in its place. */
export const workerBundle =
  process.env.VFIO_CONFORMANCE_WORKER || join(projectFolder, 'dist/worker.mjs');

/** Script and style of the HTML report, as they were bundled. */
export const reportPage = {
  script: join(projectFolder, 'dist/report-page.js'),
  style: join(projectFolder, 'dist/report-page.css'),
};

/**
 * These modules run from `setup/` and, bundled, from `dist/`: both lie one level below the project.
 * @param {string} here
 */
function findProject(here) {
  return dirname(here);
}
