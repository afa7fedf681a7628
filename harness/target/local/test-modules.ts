import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { modprobe } from './modprobe.ts';

/** Modules that tests load and that change what the machine does: see harness/testing/aer.ts. */
const TEST_MODULES = ['aer_inject'];

/** Those of them that are not there, and are to be gone again after the run. */
export function absentModules(sys = '/sys'): string[] {
  return TEST_MODULES.filter((name) => !existsSync(moduleFolder(name, sys)));
}

/** Unloads what a test has loaded and could not unload. @returns what the kernel refused, in words */
export function unloadModules(names: readonly string[], sys = '/sys'): string[] {
  return names
    .filter((name) => existsSync(moduleFolder(name, sys)))
    .flatMap((name) => {
      try {
        modprobe('-r', name);
        return [];
      } catch (error) {
        return [`the module ${name} stays loaded: ${(error as Error).message}`];
      }
    });
}

function moduleFolder(name: string, sys: string): string {
  return join(sys, 'module', name);
}
