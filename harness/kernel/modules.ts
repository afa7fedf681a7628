import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** Whether the module is loaded or built in and has shown itself in sysfs. */
export function moduleLoaded(name: string): boolean {
  return existsSync(`/sys/module/${name.replaceAll('-', '_')}`);
}

/**
 * Loads a module (root). Nothing happens if it is there already.
 * @throws Error with modprobe's words if the kernel has no such module.
 */
export function loadModule(name: string, ...parameters: string[]): void {
  if (moduleLoaded(name)) return;
  execFileSync('modprobe', [name, ...parameters], { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Removes a module (root). @throws Error if it is in use. */
export function unloadModule(name: string): void {
  execFileSync('modprobe', ['-r', name], { stdio: ['ignore', 'ignore', 'pipe'] });
}
