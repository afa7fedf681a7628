import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/**
 * Whether the module is loaded or built in. A PCI driver that is built in and has no parameters is
 * not in /sys/module, but on its bus.
 */
function moduleLoaded(name: string): boolean {
  return (
    existsSync(`/sys/module/${name.replaceAll('-', '_')}`) ||
    existsSync(`/sys/bus/pci/drivers/${name}`)
  );
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

/** How many users a loaded module has; null if it is built in. */
export function moduleUsers(module: string): number | null {
  const file = `/sys/module/${module}/refcnt`;
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : null;
}

/** Whether the module is there and was loaded from a file, so that it can be unloaded. */
export function isUnloadable(name: string): boolean {
  return moduleUsers(name) !== null;
}

/** Whether the kernel has this module: built in, loaded, or in /lib/modules. */
export function moduleAvailable(name: string): boolean {
  if (moduleLoaded(name)) return true;
  try {
    execFileSync('modprobe', ['--dry-run', name], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
