import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { aptForInstall, debianArchive, osRelease } from './apt.mjs';
import { isStaticProgram } from './elf.mjs';
import { SetupError } from './failure.mjs';
import { withLock } from './lock.mjs';
import { cacheFolder } from './paths.mjs';
import { commandPath, hasCommand } from './shell.mjs';

/** Below this QEMU lacks devices that the machines use (igb with ARI) or emulates them wrongly. */
const MINIMUM_QEMU = 10;

/**
 * A Debian package and how to see, without dpkg, that what it is needed for is there.
 * @typedef {object} NeededPackage
 * @property {string} name
 * @property {string} what the thing itself, for systems where packages have other names
 * @property {'vm' | 'build' | 'browser' | 'pack'} use what for: to run guests, to build the shim, to
 *   test the HTML report, or to build the shim for other machines
 * @property {() => boolean} present
 * @property {boolean} [backports] take it from the release's backports
 */

/** @type {NeededPackage[]} */
export const PACKAGES = [
  {
    name: 'qemu-system-x86',
    what: `QEMU, version ${MINIMUM_QEMU} or newer (qemu-system-x86_64)`,
    use: 'vm',
    present: hasRecentQemu,
    backports: true,
  },
  {
    name: 'busybox-static',
    what: 'busybox, statically linked',
    use: 'vm',
    present: hasStaticBusybox,
  },
  { name: 'kmod', what: 'depmod (kmod)', use: 'vm', present: () => hasCommand('depmod') },
  { name: 'zstd', what: 'zstd', use: 'vm', present: () => hasCommand('zstd') },
  { name: 'xz-utils', what: 'xz', use: 'vm', present: () => hasCommand('xz') },
  { name: 'gcc', what: 'gcc', use: 'build', present: () => hasCommand('gcc') },
  { name: 'make', what: 'make', use: 'build', present: () => hasCommand('make') },
  {
    name: 'libc6-dev',
    what: 'the headers of libc, and libc.a',
    use: 'build',
    present: () => existsSync('/usr/include/stdio.h'),
  },
  {
    name: 'linux-libc-dev',
    what: "Linux' headers for user space",
    use: 'build',
    present: () => existsSync('/usr/include/linux/version.h'),
  },
  { name: 'chromium', what: 'chromium', use: 'browser', present: () => hasCommand('chromium') },
  {
    name: 'gcc-x86-64-linux-gnu',
    what: 'gcc for x86-64 (x86_64-linux-gnu-gcc)',
    use: 'pack',
    present: () => hasCommand('x86_64-linux-gnu-gcc'),
  },
  {
    name: 'gcc-aarch64-linux-gnu',
    what: 'gcc for arm64 (aarch64-linux-gnu-gcc)',
    use: 'pack',
    present: () => hasCommand('aarch64-linux-gnu-gcc'),
  },
  {
    name: 'libc6-dev-amd64-cross',
    what: 'libc for x86-64',
    use: 'pack',
    present: () => process.arch === 'x64' || existsSync('/usr/x86_64-linux-gnu/include/stdio.h'),
  },
  {
    name: 'libc6-dev-arm64-cross',
    what: 'libc for arm64',
    use: 'pack',
    present: () => process.arch === 'arm64' || existsSync('/usr/aarch64-linux-gnu/include/stdio.h'),
  },
];

/** @returns {boolean} */
function hasRecentQemu() {
  if (!hasCommand('qemu-system-x86_64')) return false;
  const { stdout } = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' });
  return Number(/version (\d+)\./.exec(stdout ?? '')?.[1] ?? 0) >= MINIMUM_QEMU;
}

/** The initramfs has no libraries. */
function hasStaticBusybox() {
  const path = commandPath('busybox');
  return path !== undefined && isStaticProgram(path);
}

/**
 * @param {NeededPackage['use'][]} uses
 * @returns {NeededPackage[]} the packages that have to be installed
 */
function missingPackages(uses) {
  return PACKAGES.filter(({ use, present }) => uses.includes(use) && !present());
}

/**
 * Installs the missing Debian packages, as root; otherwise says which they are and how to install
 * them. The machine's apt configuration stays as it is.
 * @param {NeededPackage['use'][]} uses
 * @param {(text: string) => void} progress
 */
export async function installPackages(uses, progress) {
  if (missingPackages(uses).length === 0) return;
  const system = osRelease();
  if (system.ID !== 'debian') throw byHand(missingPackages(uses), system.PRETTY_NAME ?? 'unknown');
  if (process.getuid?.() !== 0) throw withoutRoot(missingPackages(uses));
  await withLock(
    join(cacheFolder, 'packages.lock'),
    async () => {
      const missing = missingPackages(uses);
      if (missing.length === 0) return;
      const { codename } = debianArchive();
      const apt = aptForInstall();
      progress('fetching the package lists of the Debian archive');
      await apt.update();
      const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=600'];
      for (const backports of [false, true]) {
        const names = missing.filter((one) => Boolean(one.backports) === backports);
        if (names.length === 0) continue;
        progress(`installing ${names.map(({ name }) => name).join(', ')}`);
        await apt.get(
          [
            ...install,
            ...(backports ? ['-t', `${codename}-backports`] : []),
            ...names.map(({ name }) => name),
          ],
          { next: 'see what apt says above; the same command goes on from here' },
        );
      }
      const still = missingPackages(uses);
      if (still.length > 0)
        throw new SetupError(
          `installed, and yet not usable: ${still.map(({ name }) => name).join(', ')}`,
          `check them with \`apt-get install --reinstall\`; QEMU must be version ${MINIMUM_QEMU} or newer`,
        );
    },
    (holder) => progress(`waiting for process ${holder}, which is installing packages`),
  );
}

/**
 * What to say where there is no Debian archive to install from.
 * @param {Pick<NeededPackage, 'what'>[]} missing
 * @param {string} system its name
 */
export function byHand(missing, system) {
  return new SetupError(
    `this system is ${system}, not Debian: what is missing has to be installed by hand\n` +
      missing.map(({ what }) => `  - ${what}`).join('\n'),
    'install these, and give a kernel with --kernel PATH, since those with a name come from the Debian archive',
  );
}

/** @param {NeededPackage[]} missing */
function withoutRoot(missing) {
  const backports = `${debianArchive().codename}-backports`;
  const ordinary = missing.filter((one) => !one.backports).map(({ name }) => name);
  const fromBackports = missing.filter((one) => one.backports).map(({ name }) => name);
  const commands = [
    ...(ordinary.length ? [`apt-get install ${ordinary.join(' ')}`] : []),
    ...(fromBackports.length ? [`apt-get install -t ${backports} ${fromBackports.join(' ')}`] : []),
  ];
  return new SetupError(
    `these Debian packages are missing and only root can install them: ${[...ordinary, ...fromBackports].join(', ')}`,
    `run the same command as root, or: ${commands.join(' && ')}`,
  );
}
