import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { aptForSuite } from './apt.mjs';
import { DEFAULT_KERNEL } from './debian-kernels.mjs';
import { SetupError } from './failure.mjs';
import { withLock } from './lock.mjs';
import { cacheFolder } from './paths.mjs';
import { run } from './shell.mjs';

/** Include path of the newest kernel's user-space headers: what harness/abi is checked against. */
const kernelHeadersFolder = join(cacheFolder, 'headers');

/**
 * Unpacks linux-libc-dev of the newest kernel; the installed release's own is too old.
 * @param {(text: string) => void} progress
 */
export async function fetchKernelHeaders(progress) {
  const present = () => existsSync(join(kernelHeadersFolder, 'usr/include/linux/vfio.h'));
  if (present()) return;
  await withLock(join(cacheFolder, 'headers.lock'), async () => {
    if (present()) return;
    progress(`fetching the kernel headers of Debian ${DEFAULT_KERNEL}`);
    const apt = aptForSuite(DEFAULT_KERNEL);
    await apt.update();
    mkdirSync(cacheFolder, { recursive: true });
    const draft = mkdtempSync(join(cacheFolder, '.headers-'));
    try {
      await apt.get(['download', 'linux-libc-dev'], {
        cwd: draft,
        next: 'check the connection to the Debian archive, then try again',
      });
      const deb = readdirSync(draft).find((file) => file.endsWith('.deb'));
      if (!deb) throw new SetupError(`${DEFAULT_KERNEL} has no linux-libc-dev`, 'try again later');
      await run('dpkg-deb', ['-x', join(draft, deb), join(draft, 'tree')]);
      rmSync(kernelHeadersFolder, { recursive: true, force: true });
      renameSync(join(draft, 'tree'), kernelHeadersFolder);
    } finally {
      rmSync(draft, { recursive: true, force: true });
    }
  });
}
