import { readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';

/** Notes that a file of the cache was used; gives its path. */
export function touch(path: string): string {
  const now = new Date();
  utimesSync(path, now, now);
  return path;
}

/** Removes all but the most recently used entries of a cache folder. */
export function removeLeastUsed(folder: string, suffix: string, keep: number): void {
  readdirSync(folder)
    .filter((name) => name.endsWith(suffix))
    .map((name) => ({ path: join(folder, name), used: statSync(join(folder, name)).mtimeMs }))
    .sort((a, b) => b.used - a.used)
    .slice(keep)
    .forEach(({ path }) => rmSync(path, { recursive: true, force: true }));
}
