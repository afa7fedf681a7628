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
