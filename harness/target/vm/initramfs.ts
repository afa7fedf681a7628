import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { commandPath } from '../../../setup/shell.mjs';
import { cacheFolder, projectFolder } from '../../../setup/paths.mjs';
import { removeLeastUsed, touch } from './cache.ts';
import { cpioArchive, type CpioEntry } from './cpio.ts';
import type { Kernel } from './kernels.ts';
import { loadOrder, moduleName, parseModulesDep, readModule } from './modules.ts';

/** What every guest loads, in this order, each after what it depends on. */
const BASE_MODULES = [
  'virtio_pci',
  'virtio_console',
  'pvpanic_mmio',
  '9pnet_virtio',
  '9p',
  'overlay',
];
/** What is tested: loaded from the initramfs too, because the guest would have to decompress it. */
const VFIO_MODULES = ['vfio', 'vfio_iommu_type1', 'iommufd', 'vfio_pci'];
const APPLETS = [
  'sh cat cp echo insmod ls mkdir mount poweroff sleep switch_root uname umount sync',
].flatMap((line) => line.split(' '));
/** Initramfs files kept in the cache, the least recently used go first. */
const KEPT = 12;

/**
 * Makes the initramfs for a kernel, or finds it in the cache.
 * @param parameters shell variables for `guest-init.sh`
 * @param moduleParameters by module name: what insmod is given
 * @returns its path
 */
export function buildInitramfs(
  kernel: Kernel,
  firstModules: string[],
  parameters: Record<string, string>,
  moduleParameters: Record<string, string>,
): string {
  const busybox = commandPath('busybox');
  if (!busybox) throw new Error('busybox is not installed (Debian: busybox-static)');
  const init = readFileSync(join(projectFolder, 'harness/target/vm/guest-init.sh'), 'utf8');
  const wanted = [...firstModules, ...BASE_MODULES, ...VFIO_MODULES];
  const modules = kernel.modulesDir ? modulesInOrder(kernel.modulesDir, wanted) : [];

  const hash = createHash('sha256');
  const stamp = (path: string): string => {
    const { size, mtimeMs } = statSync(path);
    return `${path} ${size} ${mtimeMs}`;
  };
  for (const part of [
    init,
    stamp(busybox),
    JSON.stringify([parameters, moduleParameters]),
    ...modules.map((path) => stamp(join(kernel.modulesDir ?? '', path))),
  ])
    hash.update(part).update('\0');
  const folder = join(cacheFolder, 'initramfs');
  const file = join(folder, `${hash.digest('hex').slice(0, 24)}.cpio`);
  if (existsSync(file)) return touch(file);

  const name = (path: string): string => `${moduleName(path)}.ko`;
  const entries: CpioEntry[] = [
    ...['bin', 'conformance', 'conformance/module-parameters', 'dev', 'lower', 'modules'].map(
      directory,
    ),
    ...['newroot', 'proc', 'sys', 'upper'].map(directory),
    { path: 'dev/console', kind: 'character-device', major: 5, minor: 1 },
    executable('bin/busybox', readFileSync(busybox)),
    ...APPLETS.map((path): CpioEntry => ({ path: `bin/${path}`, kind: 'link', target: 'busybox' })),
    executable('init', init),
    text('conformance/parameters', shellAssignments(parameters)),
    text('conformance/modules', modules.map((path) => `${name(path)}\n`).join('')),
    ...Object.entries(moduleParameters).map(([module, value]) =>
      text(`conformance/module-parameters/${module}.ko`, value),
    ),
    ...modules.map((path): CpioEntry => {
      const content = readModule(kernel.modulesDir ?? '', path);
      return { path: `modules/${name(path)}`, kind: 'file', mode: 0o644, content };
    }),
  ];
  mkdirSync(folder, { recursive: true });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, cpioArchive(entries));
  renameSync(draft, file);
  removeLeastUsed(folder, '.cpio', KEPT);
  return file;
}

/** Shell assignments whose values survive any character. */
export function shellAssignments(parameters: Record<string, string>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${name}=${shellQuote(value)}\n`)
    .join('');
}

/** A word as the shell reads it, whatever it holds. */
export function shellQuote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function modulesInOrder(modulesDir: string, wanted: string[]): string[] {
  const dep = join(modulesDir, 'modules.dep');
  return existsSync(dep) ? loadOrder(wanted, parseModulesDep(readFileSync(dep, 'utf8'))) : [];
}

function directory(path: string): CpioEntry {
  return { path, kind: 'directory' };
}

function executable(path: string, content: string | Buffer): CpioEntry {
  return { path, kind: 'file', mode: 0o755, content: Buffer.from(content) };
}

function text(path: string, content: string): CpioEntry {
  return { path, kind: 'file', mode: 0o644, content: Buffer.from(content) };
}
