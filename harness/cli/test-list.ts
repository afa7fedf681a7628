import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { workerBundle } from '../../setup/paths.mjs';
import type { BenchMeta } from '../protocol/bench.ts';
import type { TestMeta } from '../protocol/test.ts';
import type { Uapi } from '../protocol/uapi.ts';
import { SetupError } from '../target/errors.ts';

/**
 * The metadata of all tests, by asking the worker: the supervisor itself never loads a suite. Needs
 * neither root nor a device.
 */
export async function listTests(): Promise<TestMeta[]> {
  return (await askWorker('--list')) as TestMeta[];
}

/** The metadata of all benchmarks, likewise. */
export async function listBenches(): Promise<BenchMeta[]> {
  return (await askWorker('--list-benches')) as BenchMeta[];
}

/** All uAPI items that the executing side knows. */
export async function listUapi(): Promise<Uapi> {
  return (await askWorker('--uapi')) as Uapi;
}

async function askWorker(question: '--list' | '--list-benches' | '--uapi'): Promise<unknown> {
  if (!existsSync(workerBundle)) {
    throw new SetupError(
      `${workerBundle} is missing: the suites are not bundled`,
      'run `npm run setup`',
    );
  }
  const child = spawn(process.execPath, ['--enable-source-maps', workerBundle, question], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  if (code !== 0) {
    throw new SetupError(
      `the suites cannot be listed:\n${Buffer.concat(err).toString('utf8').trim()}`,
      'mend the suite file that is named above',
    );
  }
  return JSON.parse(Buffer.concat(out).toString('utf8')) as unknown;
}
