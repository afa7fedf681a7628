/** Gives all tests one temporary folder, which goes with them unless one fails. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';

export default function ({ vitest }: TestProject): () => void {
  const before = process.env['TMPDIR'];
  const folder = mkdtempSync(join(tmpdir(), 'vfio-tests-'));
  process.env['TMPDIR'] = folder;
  return () => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
    if (vitest.state.getCountOfFailedTests() > 0)
      process.stderr.write(`What the failed tests left behind: ${folder}\n`);
    else rmSync(folder, { recursive: true, force: true });
  };
}
