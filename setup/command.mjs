import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { projectFolder } from './paths.mjs';
import { setUpBundles, setUpLocal, setUpVm } from './steps.mjs';

/**
 * Sets up what a command line needs and no more, then executes it.
 * @param {string[]} args of `vfio-conformance`
 * @returns {Promise<number>} its exit status
 */
export async function runCommand(args) {
  await neededSteps(args)();
  return runCli(args);
}

/** Commands that run tests, benchmarks or fuzzers. */
const RUNNING = ['run', 'matrix', 'audit', 'bench', 'fuzz'];

/**
 * Only these need more than the bundles: the shim, and QEMU unless it runs on this machine.
 * @param {string[]} args
 */
export function neededSteps(args) {
  const resumed = args.indexOf('--resume');
  if (args[0] === 'run' && resumed > 0) return neededSteps(recordedArguments(args[resumed + 1]));
  const isRun = RUNNING.includes(args.find((arg) => !arg.startsWith('-')) ?? '');
  if (!isRun || args.includes('--help') || args.includes('-h')) return setUpBundles;
  return args.some((arg) => arg === '--device' || arg.startsWith('--device='))
    ? setUpLocal
    : setUpVm;
}

/**
 * What `run` was called with when a run was begun. Whatever is wrong with it, the command line says so.
 * @param {string} [directory] of its results
 * @returns {string[]}
 */
function recordedArguments(directory = '') {
  try {
    const [begin = ''] = readFileSync(join(directory, 'journal.ndjson'), 'utf8').split('\n', 1);
    return JSON.parse(begin).command.slice(1);
  } catch {
    return [];
  }
}

/**
 * Executes the bundled command line. Signals of the terminal reach it by itself; those sent to this
 * process are handed on, and this process ends as the command line does.
 * @param {string[]} args
 * @returns {Promise<number>}
 */
function runCli(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ['--enable-source-maps', join(projectFolder, 'dist/cli.mjs'), ...args],
      { stdio: 'inherit' },
    );
    const handOn = (/** @type {NodeJS.Signals} */ signal) => child.kill(signal);
    const ignore = () => {};
    process.on('SIGINT', ignore);
    process.on('SIGTERM', handOn);
    process.on('SIGHUP', handOn);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      process.off('SIGINT', ignore);
      resolve(code ?? 128 + (signal ? constants.signals[signal] : 0));
    });
  });
}
