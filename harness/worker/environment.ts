import { existsSync, readFileSync } from 'node:fs';
import { cpus, machine, release, totalmem, version } from 'node:os';
import { conditions } from '../kernel/conditions.ts';
import type { Environment } from '../protocol/events.ts';

/** Facts about this machine that make a result comparable. */
export function environment(): Environment {
  const text = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '');
  return {
    kernel: release(),
    kernelVersion: version(),
    architecture: machine(),
    commandLine: text('/proc/cmdline'),
    cpu: cpus()[0]?.model ?? 'unknown',
    cpus: cpus().length,
    memoryBytes: totalmem(),
    taint: text('/proc/sys/kernel/tainted'),
    node: process.version,
    ...conditions(),
  };
}
