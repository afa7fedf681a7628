/** What `guest-init.sh` is told. */
import { join, sep } from 'node:path';
import { projectFolder, workerBundle } from '../../../setup/paths.mjs';
import { shellQuote } from './initramfs.ts';

/** Folders that are fresh in the guest: what is needed from them is mounted again. */
const FRESH_FOLDERS = ['/tmp', '/run', '/dev'];

/** Node's own threads cost more than they bring on emulated CPUs. */
const WORKER_FLAGS = ['--v8-pool-size=0', '--enable-source-maps'];

/** Shell variables for `guest-init.sh`. @param hooks commands of the user's around the worker */
export function guestVariables(
  modulesDir: string | null,
  hooks: { before?: string; after?: string },
): Record<string, string> {
  const kept = keptFolders([projectFolder, process.execPath, modulesDir ?? '/']);
  return {
    PROJECT: projectFolder,
    KEEP: kept.join(' '),
    MODULES_DIR: modulesDir ?? '',
    WORKER: [process.execPath, ...WORKER_FLAGS, workerBundle].map(shellQuote).join(' '),
    BEFORE: hooks.before ?? '',
    AFTER: hooks.after ?? '',
  };
}

/** The given paths (or their folders) that lie in a folder which the guest replaces. */
export function keptFolders(paths: string[]): string[] {
  return paths
    .filter((path) => FRESH_FOLDERS.some((fresh) => path.startsWith(fresh + sep)))
    .map((path) => (path === process.execPath ? join(path, '../..') : path));
}
