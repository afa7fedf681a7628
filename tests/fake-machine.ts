import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, vi } from 'vitest';
import type { Roots } from '../harness/target/local/use.ts';

/** A machine that consists of files, for tests of what reads sysfs and proc. */

/** Where the files of the machine lie. */
export const roots: Roots = { sys: '', proc: '' };

/** Makes one anew for each test of a file. */
export function useFakeMachine(): void {
  beforeEach(() => {
    const folder = mkdtempSync(join(tmpdir(), 'fake-machine-'));
    Object.assign(roots, { sys: join(folder, 'sys'), proc: join(folder, 'proc') });
    mkdirSync(roots.proc);
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    rmSync(dirname(roots.proc), { recursive: true });
  });
}

/** A file with one line. */
export function file(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${text}\n`);
}

export function link(target: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  symlinkSync(target, path);
}

export const NIC = '0000:03:00.0';
export const path = (bdf: string): string => join(roots.sys, 'bus/pci/devices', bdf);

export function bind(bdf: string, driver: string): void {
  link(`../../drivers/${driver}`, join(path(bdf), 'driver'));
}

export function addDevice(
  bdf: string,
  group: number | null,
  attributes: Record<string, string> = {},
): void {
  const all = { vendor: '0x8086', device: '0x10d3', class: '0x020000', ...attributes };
  for (const [name, text] of Object.entries(all)) file(join(path(bdf), name), text);
  if (group !== null) link(`../../../kernel/iommu_groups/${group}`, join(path(bdf), 'iommu_group'));
}

/** A device of a class that a PCI function provides. */
export function addChild(bdf: string, className: string, name: string, dev = ''): string {
  const child = join(path(bdf), className, name);
  file(join(child, 'dev'), dev);
  link(child, join(roots.sys, 'class', className, name));
  return child;
}

/** What process 4711 has open. */
export function open(node: string): void {
  link(node, join(roots.proc, '4711/fd/12'));
  file(join(roots.proc, '4711/comm'), 'qemu-system-x86');
}
