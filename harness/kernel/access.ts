import { accessSync } from 'node:fs';

/**
 * Whether this process may use a file.
 * @param mode of `constants` of node:fs: R_OK, W_OK; access(2)
 */
export function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** As what node:fs throws: a test that meets it is skipped where this user or kernel has not the right. */
export function denied(code: 'EACCES' | 'EPERM', path: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what} '${path}'`), { code, path });
}
