import { existsSync } from 'node:fs';
import { Program } from '../shim/index.ts';

/** Where the kernel's debug file system is mounted. */
export const DEBUGFS = '/sys/kernel/debug';

/** Mounts debugfs (root) unless `path`, which is in it, is there already. Whether it is there then. */
export function debugfsHas(path: string): boolean {
  if (existsSync(`${DEBUGFS}/${path}`)) return true;
  const program = new Program();
  const name = program.data('debugfs');
  program.syscall('mount', name, program.data(DEBUGFS), name, 0, 0);
  program.run();
  return existsSync(`${DEBUGFS}/${path}`);
}
