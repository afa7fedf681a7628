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

/** Commands that run tests or benchmarks. */
const RUNNING = ['run', 'audit', 'bench'];

/**
 * Only these need more than the bundles: the shim, and QEMU unless it runs on this machine.
 * @param {string[]} args
 */
export function neededSteps(args) {
  const isRun = RUNNING.includes(args.find((arg) => !arg.startsWith('-')) ?? '');
  if (!isRun || args.includes('--help') || args.includes('-h')) return setUpBundles;
  return args.some((arg) => arg === '--device' || arg.startsWith('--device='))
    ? setUpLocal
    : setUpVm;
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
