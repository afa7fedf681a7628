import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import {
  DEBIAN_KERNELS,
  DEFAULT_KERNEL,
  fetchDebianKernel,
  fetchedKernel,
  runDepmod,
  unpackKernel,
} from '../../../setup/debian-kernels.mjs';
import { SetupError } from '../../../setup/failure.mjs';
import { cacheFolder } from '../../../setup/paths.mjs';
import { run, tryRun } from '../../../setup/shell.mjs';
import { moduleName } from './modules.ts';

export { DEFAULT_KERNEL };

/** A kernel ready to be booted. */
export interface Kernel {
  /** What the user asked for: `trixie-backports` or a path. */
  name: string;
  /** `uname -r`; of a bare vmlinuz read from its header. */
  release: string;
  vmlinuz: string;
  /** Contents of `/lib/modules/RELEASE`; null if everything is built in. */
  modulesDir: string | null;
  /** Path of its configuration, null if unknown. */
  config: string | null;
}

/** A line of `vfio-conformance kernels`. */
export interface KnownKernel {
  name: string;
  /** Release in the cache, null if it is not fetched yet. */
  release: string | null;
  isDefault: boolean;
}

/** The kernels that have a name, oldest first. */
export function knownKernels(): KnownKernel[] {
  return DEBIAN_KERNELS.map((name) => {
    const folder = fetchedKernel(name);
    return { name, release: folder ? basename(folder) : null, isDefault: name === DEFAULT_KERNEL };
  });
}

/**
 * Finds, fetches or unpacks a kernel.
 * @param spec a name of {@link knownKernels}, or the path of a vmlinuz, of a kernel build tree, of
 *   a .deb or of a folder with .debs
 * @throws SetupError with what to do next
 */
export async function resolveKernel(
  spec: string,
  progress: (text: string) => void,
): Promise<Kernel> {
  if (DEBIAN_KERNELS.includes(spec))
    return fromFolder(spec, await fetchDebianKernel(spec, progress));
  const path = resolve(spec);
  if (!existsSync(path))
    throw new SetupError(
      `no kernel \`${spec}\``,
      `give one of ${DEBIAN_KERNELS.join(', ')}, or the path of a vmlinuz, a kernel build tree or a .deb`,
    );
  if (!statSync(path).isDirectory())
    return path.endsWith('.deb') ? fromPackages(spec, [path], progress) : fromImage(spec, path);
  if (existsSync(join(path, 'include/config/kernel.release')))
    return fromBuildTree(spec, path, progress);
  const debs = readdirSync(path).filter(
    (file) => /^linux-.*\.deb$/.test(file) && !/-dbg_/.test(file),
  );
  if (debs.length > 0)
    return fromPackages(
      spec,
      debs.map((file) => join(path, file)),
      progress,
    );
  if (existsSync(join(path, 'vmlinuz'))) return fromFolder(spec, path);
  throw new SetupError(
    `\`${spec}\` is neither a built kernel tree nor a folder with linux-*.deb files`,
    'build the kernel first (`make bzImage modules`), or give the path of its bzImage',
  );
}

/**
 * Lays freshly built modules over a kernel's own, by module name. The result is kept in the cache
 * under a hash of what went into it.
 * @param folder searched for .ko, .ko.xz and .ko.zst at any depth
 */
export async function overlayModules(
  kernel: Kernel,
  folder: string,
  progress: (text: string) => void,
): Promise<Kernel> {
  const built = findModules(resolve(folder));
  if (built.length === 0)
    throw new SetupError(
      `no modules (.ko) in ${folder}`,
      'build them first, e.g. `make M=drivers/vfio modules`',
    );
  const hash = createHash('sha256')
    .update(kernel.release)
    .update(kernel.modulesDir ?? '');
  if (kernel.modulesDir) hash.update(String(statSync(kernel.modulesDir).mtimeMs));
  for (const path of built) hash.update(path).update(readFileSync(path));
  return inCache('modules', hash.digest('hex').slice(0, 24), kernel, async (base) => {
    progress(`laying ${built.length} modules from ${folder} over those of ${kernel.release}`);
    const tree = join(base, 'lib/modules', kernel.release);
    mkdirSync(dirname(tree), { recursive: true });
    if (kernel.modulesDir) await copyTree(kernel.modulesDir, tree);
    const names = new Set(built.map(moduleName));
    for (const path of findModules(tree)) if (names.has(moduleName(path))) rmSync(path);
    mkdirSync(join(tree, 'updates'), { recursive: true });
    for (const path of built) await copyTree(path, join(tree, 'updates', basename(path)));
  });
}

/** The release in the header of a bzImage (Documentation/arch/x86/boot.rst, `kernel_version`). */
function releaseOfImage(image: Buffer): string | undefined {
  if (image.length < 0x210 || image.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined;
  const start = image.readUInt16LE(0x20e) + 0x200;
  const text = image.toString('latin1', start, start + 256);
  return text.split('\0')[0]?.split(' ')[0];
}

function fromFolder(name: string, folder: string): Kernel {
  const modules = join(folder, 'lib/modules');
  const release = existsSync(modules) ? readdirSync(modules)[0] : undefined;
  const config = join(folder, 'config');
  return {
    name,
    release: release ?? basename(folder),
    vmlinuz: join(folder, 'vmlinuz'),
    modulesDir: release ? join(modules, release) : null,
    config: existsSync(config) ? config : null,
  };
}

/** A bare image: its modules are looked for where a distribution would have put them. */
function fromImage(name: string, vmlinuz: string): Kernel {
  const release = releaseOfImage(readFileSync(vmlinuz));
  if (!release)
    throw new SetupError(
      `${vmlinuz} is not a Linux boot image (bzImage)`,
      'give arch/x86/boot/bzImage of a built kernel, or /boot/vmlinuz-VERSION',
    );
  // …/boot/vmlinuz-R beside …/lib/modules/R, or both in one folder; a tree's bzImage belongs to that tree.
  const boot = dirname(realpathSync(vmlinuz));
  const tree = resolve(boot, '../../..');
  if (existsSync(join(tree, 'include/config/kernel.release')))
    throw new SetupError(
      `${vmlinuz} lies in a kernel build tree`,
      `give the tree itself: --kernel ${tree}`,
    );
  const present = (...paths: string[]): string | null => paths.find(existsSync) ?? null;
  return {
    name,
    release,
    vmlinuz,
    modulesDir: present(
      join(dirname(boot), 'lib/modules', release),
      join(boot, 'lib/modules', release),
    ),
    config: present(join(boot, `config-${release}`)),
  };
}

async function fromBuildTree(
  name: string,
  tree: string,
  progress: (text: string) => void,
): Promise<Kernel> {
  const release = readFileSync(join(tree, 'include/config/kernel.release'), 'utf8').trim();
  const vmlinuz = join(tree, 'arch/x86/boot/bzImage');
  if (!existsSync(vmlinuz))
    throw new SetupError(
      `${tree} holds no arch/x86/boot/bzImage`,
      'build it: `make bzImage modules`',
    );
  const config = join(tree, '.config');
  const kernel: Kernel = {
    name,
    release,
    vmlinuz,
    modulesDir: null,
    config: existsSync(config) ? config : null,
  };
  const order = join(tree, 'modules.order');
  const modules = existsSync(order)
    ? readFileSync(order, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => line.replace(/\.o$/, '.ko'))
        .filter((path) => existsSync(join(tree, path)))
    : [];
  if (modules.length === 0) return kernel;
  const hash = createHash('sha256').update(tree).update(release);
  for (const path of modules) {
    const { size, mtimeMs } = statSync(join(tree, path));
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return inCache('modules', hash.digest('hex').slice(0, 24), kernel, async (base) => {
    progress(`collecting ${modules.length} modules from ${tree}`);
    const target = join(base, 'lib/modules', release);
    for (const path of modules) {
      mkdirSync(dirname(join(target, 'kernel', path)), { recursive: true });
      await copyTree(join(tree, path), join(target, 'kernel', path));
    }
    for (const file of ['modules.order', 'modules.builtin', 'modules.builtin.modinfo'])
      if (existsSync(join(tree, file))) await copyTree(join(tree, file), join(target, file));
  });
}

async function fromPackages(
  name: string,
  debs: string[],
  progress: (text: string) => void,
): Promise<Kernel> {
  const hash = createHash('sha256');
  for (const deb of debs) {
    const { size, mtimeMs } = statSync(deb);
    hash.update(`${deb} ${size} ${mtimeMs}\n`);
  }
  const folder = join(cacheFolder, 'kernels/.packages', hash.digest('hex').slice(0, 24));
  if (!existsSync(folder)) {
    progress(`unpacking ${debs.map((deb) => basename(deb)).join(', ')}`);
    mkdirSync(dirname(folder), { recursive: true });
    const draft = mkdtempSync(`${folder}.`);
    try {
      await unpackKernel(debs, join(draft, 'kernel'));
      moveIntoPlace(join(draft, 'kernel'), folder);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  return fromFolder(name, folder);
}

/** Gives the kernel with a modules folder from the cache, which `fill` makes if it is not there. */
async function inCache(
  kind: string,
  key: string,
  kernel: Kernel,
  fill: (base: string) => Promise<void>,
): Promise<Kernel> {
  const folder = join(cacheFolder, kind, key);
  if (!existsSync(folder)) {
    mkdirSync(dirname(folder), { recursive: true });
    const draft = mkdtempSync(`${folder}.`);
    try {
      await fill(draft);
      await runDepmod(draft, kernel.release);
      moveIntoPlace(draft, folder);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  }
  return { ...kernel, modulesDir: join(folder, 'lib/modules', kernel.release) };
}

/** Another process may have made the same meanwhile: then this one's is not needed. */
function moveIntoPlace(draft: string, folder: string): void {
  try {
    renameSync(draft, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
  }
}

/** Hard links where the file system allows it, else copies: modules take hundreds of megabytes. */
async function copyTree(from: string, to: string): Promise<void> {
  const { status } = await tryRun('cp', ['-al', from, to]);
  if (status === 0) return;
  rmSync(to, { recursive: true, force: true });
  await run('cp', ['-a', from, to]);
}

function findModules(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.ko(\.(xz|zst|gz))?$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
