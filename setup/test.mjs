import { spawn } from 'node:child_process';
import { exitWith } from './failure.mjs';
import { projectFolder } from './paths.mjs';
import { setUpTests } from './steps.mjs';

/** The project's own checks, cheap ones first; vitest is last, so that its summary ends the output. */
const CHECKS = [
  ['types', 'npx', 'tsc', '--noEmit'],
  ['types of the HTML report', 'npx', 'tsc', '--noEmit', '-p', 'reports/html/page'],
  ['lint', 'npx', 'eslint', '.', '--max-warnings=0'],
  ['format', 'npx', 'prettier', '--check', '--log-level=warn', '.'],
  [
    'import directions',
    'npx',
    'depcruise',
    '--config',
    '.dependency-cruiser.cjs',
    'harness',
    'reports',
    'suites',
    'setup',
  ],
  ['shim under sanitizers', 'make', '-s', '-C', 'native', 'check'],
  ['unit and end-to-end tests', 'npx', 'vitest', 'run'],
];

/** `npm test [-- ARGS]`: all checks; ARGS go to vitest, e.g. `--project unit`. */
await exitWith(async () => {
  await setUpTests();
  const failed = [];
  for (const [index, [name = '', command = '', ...args]] of CHECKS.entries()) {
    process.stdout.write(`\n== ${name}\n`);
    const last = index === CHECKS.length - 1;
    const status = await execute(command, last ? [...args, ...process.argv.slice(2)] : args);
    if (status !== 0) failed.push(name);
    // vitest has the last word: what failed before it is said before it.
    if (index === CHECKS.length - 2 && failed.length > 0)
      process.stdout.write(`\nfailed so far: ${failed.join(', ')}\n`);
  }
  return failed.length > 0 ? 1 : 0;
});

/**
 * @param {string} command
 * @param {string[]} args
 * @returns {Promise<number>}
 */
function execute(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: projectFolder, stdio: 'inherit' });
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}
