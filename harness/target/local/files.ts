import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Files of sysfs and proc come and go while they are looked at, and some are closed to us. */

/** The trimmed text of a file, or null if it cannot be read. */
export function tryReadText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

/** The same, empty if it cannot be read. */
export function readText(path: string): string {
  return tryReadText(path) ?? '';
}

/** The last part of what a link points to, or null if there is no link. */
export function linkName(path: string): string | null {
  try {
    return basename(readlinkSync(path));
  } catch {
    return null;
  }
}

/** The names in a folder, sorted; none if it cannot be read. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

/**
 * The devices of a class (`net`, `block`, …) that a device provides: those that lie below it.
 * @param path of the device, in sysfs
 */
export function classDevicesBelow(path: string, className: string, sys = '/sys'): string[] {
  const above = realPath(path) + '/';
  const folder = join(sys, 'class', className);
  return namesIn(folder).filter((name) => realPath(join(folder, name)).startsWith(above));
}

/** The path without links; the path itself if it does not exist. */
export function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
