import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { SetupError } from './failure.mjs';

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env] added to this process's environment
 * @property {boolean} [inherit] the command writes to this process's terminal, nothing is captured
 */

/**
 * Runs a command to its end; never throws for a non-zero status.
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<{status: number, stdout: string, stderr: string}>}
 */
export function tryRun(command, args, { cwd, env, inherit = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: inherit ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    });
    /** @type {Buffer[]} */
    const out = [];
    /** @type {Buffer[]} */
    const err = [];
    child.stdout?.on('data', (chunk) => out.push(chunk));
    child.stderr?.on('data', (chunk) => err.push(chunk));
    child.on('error', (error) => resolve({ status: 127, stdout: '', stderr: error.message }));
    child.on('close', (code, signal) =>
      resolve({
        status: code ?? (signal ? 128 : 1),
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      }),
    );
  });
}

/**
 * Runs a command that has to succeed.
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions & {next?: string}} [options] `next`: what to do when it fails
 * @returns {Promise<string>} its stdout
 */
export async function run(command, args, options = {}) {
  const { status, stdout, stderr } = await tryRun(command, args, options);
  if (status !== 0) {
    const said = (stderr.trim() || stdout.trim()).split('\n').slice(-15).join('\n');
    throw new SetupError(
      `\`${[command, ...args].join(' ')}\` failed with status ${status}${said ? `:\n${said}` : ''}`,
      options.next,
    );
  }
  return stdout;
}

/**
 * Whether a command can be found, in PATH or where an administrator's tools lie.
 * @param {string} name
 */
export function hasCommand(name) {
  return commandPath(name) !== undefined;
}

/**
 * @param {string} name
 * @returns {string | undefined}
 */
export function commandPath(name) {
  for (const folder of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    if (!folder) continue;
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // not in this folder
    }
  }
  return undefined;
}
