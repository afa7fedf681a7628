import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
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
  const resumed = valueOf('--resume', args);
  if (args[0] === 'run' && resumed !== undefined) return neededSteps(recordedArguments(resumed));
  const isRun = RUNNING.includes(args.find((arg) => !arg.startsWith('-')) ?? '');
  if (!isRun || args.includes('--help') || args.includes('-h')) return setUpBundles;
  return valueOf('--device', args) === undefined ? setUpVm : setUpLocal;
}

/**
 * @param {string} option
 * @param {string[]} args
 * @returns {string | undefined} what follows the option, or its `=`
 */
function valueOf(option, args) {
  const index = args.findIndex((arg) => arg === option || arg.startsWith(`${option}=`));
  if (index < 0) return undefined;
  return args[index] === option ? (args[index + 1] ?? '') : args[index]?.slice(option.length + 1);
}

/**
 * What `run` was called with when a run was begun. Whatever is wrong with it, the command line says so.
 * @param {string} directory of its results
 * @returns {string[]}
 */
function recordedArguments(directory) {
  try {
    const [begin = ''] = readFileSync(join(directory, 'journal.ndjson'), 'utf8').split('\n', 1);
    return JSON.parse(begin).command.slice(1);
  } catch {
    return [];
  }
}

/**
 * Executes the bundled command line in this process: a signal to the command that a user has started
 * reaches what holds the devices, and if it is killed, nothing lives on without it.
 * @param {string[]} args
 * @returns {Promise<number>}
 */
async function runCli(args) {
  const cli = join(projectFolder, 'dist/cli.mjs');
  process.argv = [process.execPath, cli, ...args];
  process.setSourceMapsEnabled(true);
  await import(pathToFileURL(cli).href);
  return Number(process.exitCode ?? 0);
}
