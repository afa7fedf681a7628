import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { aptForSuite } from './apt.mjs';
import { SetupError } from './failure.mjs';
import { withLock } from './lock.mjs';
import { cacheFolder } from './paths.mjs';
import { run } from './shell.mjs';

/** Debian suites whose kernel can be named with `--kernel`, oldest first; the last is the default. */
export const DEBIAN_KERNELS = ['bookworm', 'bookworm-backports', 'trixie-backports'];
export const DEFAULT_KERNEL = 'trixie-backports';

const kernelsFolder = join(cacheFolder, 'kernels');

/**
 * A kernel laid out for booting: `vmlinuz`, `config` (if known) and `lib/modules/RELEASE`.
 * @param {string} name one of {@link DEBIAN_KERNELS}
 * @returns {string | undefined} the folder of the newest one that was fetched
 */
export function fetchedKernel(name) {
  const folder = join(kernelsFolder, name);
  if (!existsSync(folder)) return undefined;
  const newest = readdirSync(folder)
    .filter((entry) => !entry.startsWith('.'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .at(-1);
  return newest === undefined ? undefined : join(folder, newest);
}

/**
 * Fetches a suite's kernel from the Debian archive, unless one is there.
 * @param {string} name one of {@link DEBIAN_KERNELS}
 * @param {(text: string) => void} progress
 * @param {{update?: boolean}} [options] `update`: look for a newer one even if one is there
 * @returns {Promise<string>} its folder
 */
export async function fetchDebianKernel(name, progress, { update = false } = {}) {
  const present = fetchedKernel(name);
  if (present && !update) return present;
  return withLock(
    join(cacheFolder, `kernel-${name}.lock`),
    async () => {
      const meanwhile = fetchedKernel(name);
      if (meanwhile && !update) return meanwhile;
      const apt = aptForSuite(name);
      progress(`looking up the kernel of Debian ${name}`);
      await apt.update({ force: update });
      const packages = await kernelPackages(apt, 'linux-image-amd64');
      if (packages.length === 0)
        throw new SetupError(
          `the archive has no kernel for ${name}`,
          'try again later, or give a kernel with --kernel PATH',
        );
      mkdirSync(join(kernelsFolder, name), { recursive: true });
      const draft = mkdtempSync(join(kernelsFolder, name, '.fetch-'));
      try {
        progress(`downloading ${packages.join(', ')}`);
        await apt.get(['download', ...packages], {
          cwd: draft,
          next: 'check the connection to the Debian archive, then try again',
        });
        const debs = readdirSync(draft).filter((file) => file.endsWith('.deb'));
        progress(`unpacking the kernel of Debian ${name}`);
        const release = await unpackKernel(
          debs.map((file) => join(draft, file)),
          join(draft, 'kernel'),
        );
        const folder = join(kernelsFolder, name, release);
        rmSync(folder, { recursive: true, force: true });
        renameSync(join(draft, 'kernel'), folder);
        return folder;
      } finally {
        rmSync(draft, { recursive: true, force: true });
      }
    },
    (holder) => progress(`waiting for process ${holder}, which is fetching the same kernel`),
  );
}

/**
 * Lays a kernel's Debian packages out for booting. Older packages hold all in one, those of 7.x are
 * split: vmlinuz lies in /boot or below usr/lib/modules/RELEASE.
 * @param {string[]} debs
 * @param {string} folder does not exist yet
 * @returns {Promise<string>} the kernel's release
 */
export async function unpackKernel(debs, folder) {
  const tree = `${folder}.tree`;
  mkdirSync(tree, { recursive: true });
  for (const deb of debs) await run('dpkg-deb', ['-x', deb, tree]);
  const modules = ['lib/modules', 'usr/lib/modules']
    .map((path) => join(tree, path))
    .filter((path) => existsSync(path));
  const release = modules.flatMap((path) => readdirSync(path))[0];
  const images = [
    ...modules.flatMap((path) => [join(path, release ?? '', 'vmlinuz')]),
    ...(existsSync(join(tree, 'boot'))
      ? readdirSync(join(tree, 'boot'))
          .filter((file) => /^vmlinu[xz]-/.test(file))
          .map((file) => join(tree, 'boot', file))
      : []),
  ].filter((path) => existsSync(path));
  if (!images[0])
    throw new SetupError(
      `no kernel image in ${debs.join(', ')}`,
      'give the linux-image package (for 7.x linux-binary and linux-modules), or a folder with all of them',
    );
  const name = release ?? /vmlinu[xz]-(.*)$/.exec(images[0])?.[1] ?? 'unknown';
  mkdirSync(join(folder, 'lib/modules'), { recursive: true });
  copyFileSync(images[0], join(folder, 'vmlinuz'));
  for (const config of [
    join(tree, 'boot', `config-${name}`),
    ...modules.map((path) => join(path, name, 'config')),
  ])
    if (existsSync(config)) copyFileSync(config, join(folder, 'config'));
  if (modules.length > 0) {
    mkdirSync(join(folder, 'lib/modules', name));
    // Split packages may spread one release over lib/ and usr/lib/.
    for (const path of modules)
      if (existsSync(join(path, name)))
        await run('cp', ['-a', `${join(path, name)}/.`, join(folder, 'lib/modules', name)]);
    await runDepmod(folder, name);
  }
  rmSync(tree, { recursive: true, force: true });
  return name;
}

/**
 * Packages hold no modules.dep: it is made when they are installed.
 * @param {string} base folder above lib/modules
 * @param {string} release
 */
export async function runDepmod(base, release) {
  // depmod looks in lib/modules only; build and source links would lead it out of the tree.
  for (const link of ['build', 'source'])
    rmSync(join(base, 'lib/modules', release, link), { recursive: true, force: true });
  await run('depmod', ['-b', base, release], {
    env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  if (!existsSync(join(base, 'usr'))) {
    mkdirSync(join(base, 'usr'));
    symlinkSync('../lib', join(base, 'usr/lib'));
  }
}

/**
 * The packages behind a kernel's meta-package: image, and where it is split binary and modules.
 * @param {import('./apt.mjs').PrivateApt} apt
 * @param {string} meta
 * @returns {Promise<string[]>}
 */
async function kernelPackages(apt, meta) {
  /** @type {Set<string>} */
  const seen = new Set();
  const queue = [meta];
  for (let name = queue.shift(); name; name = queue.shift()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const record = (await apt.query(['show', '--no-all-versions', name])).split('\n\n')[0] ?? '';
    const depends = /^Depends: (.*)$/m.exec(record)?.[1] ?? '';
    for (const dependency of depends.split(/\s*[,|]\s*/)) {
      const target = dependency.split(/[\s(:]/)[0] ?? '';
      if (/^linux-(image|binary|modules|base)-\d/.test(target)) queue.push(target);
    }
  }
  seen.delete(meta);
  return [...seen];
}
