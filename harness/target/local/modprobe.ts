import { execFileSync } from 'node:child_process';
import { commandPath } from '../../../setup/shell.mjs';

/** Loads or unloads modules (root), also where PATH leads to no administrative commands. @throws Error with its words */
export function modprobe(...args: string[]): void {
  execFileSync(commandPath('modprobe') ?? 'modprobe', args, {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}
