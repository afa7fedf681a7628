import { join } from 'node:path';
import type { CoverageGoal } from '../../reports/coverage.ts';
import { projectFolder } from '../../setup/paths.mjs';
import { readUncovered } from '../../reports/uncovered.ts';
import { listUapi } from './test-list.ts';

/** What this checkout knows of the uAPI, and which items need no test. */
export async function coverageGoal(): Promise<CoverageGoal> {
  return {
    uapi: await listUapi(),
    reasons: readUncovered(join(projectFolder, 'expectations/uncovered.txt')),
  };
}
