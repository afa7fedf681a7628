import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { projectFolder } from '../../setup/paths.mjs';
import type { RunResults, TestResult } from '../../reports/results.ts';

/** A finished `vfio-conformance`. */
export interface Finished {
  code: number | null;
  output: string;
}

/** A running `vfio-conformance`. */
export interface Running {
  child: ChildProcess;
  /** Resolves when a line of its output matches. */
  line(pattern: RegExp): Promise<void>;
  finished: Promise<Finished>;
}

/** Starts the command as a user would, with a worker of other suites if `worker` is given. */
export function start(args: string[], worker?: string): Running {
  const child = spawn(join(projectFolder, 'bin/vfio-conformance'), args, {
    env: { ...process.env, ...(worker !== undefined && { VFIO_CONFORMANCE_WORKER: worker }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const waiting: { pattern: RegExp; found: () => void }[] = [];
  const take = (chunk: Buffer) => {
    output += chunk.toString('utf8');
    for (const { pattern, found } of waiting) if (pattern.test(output)) found();
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  return {
    child,
    line: (pattern) => new Promise((found) => waiting.push({ pattern, found })),
    finished: new Promise((resolve) => child.on('close', (code) => resolve({ code, output }))),
  };
}

/** A fresh folder for results. */
export function resultsFolder(): string {
  return join(mkdtempSync(join(tmpdir(), 'vfio-conformance-e2e-')), 'results');
}

export function readResults(folder: string): RunResults {
  return JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as RunResults;
}

/** A test's result. @throws Error if the run has none. */
export function resultOf(results: RunResults, id: string): TestResult {
  const found = results.tests.find((test) => test.id === id);
  if (!found) throw new Error(`no result of ${id}`);
  return found;
}
