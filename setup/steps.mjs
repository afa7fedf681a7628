import { build } from './build.mjs';
import { DEFAULT_KERNEL, fetchDebianKernel } from './debian-kernels.mjs';
import { installPackages } from './debian-packages.mjs';
import { fetchKernelHeaders } from './kernel-headers.mjs';
import { buildNative } from './native-build.mjs';
import { installNpmPackages } from './npm-packages.mjs';
import { progress } from './progress.mjs';

/** What a command may rely on, each including what it rests on itself. */

/** npm packages and the bundles in dist/: enough to list tests and to look at results. */
export async function setUpBundles() {
  await installNpmPackages(progress);
  await build();
}

/** The shim too: enough to run the suites on this machine. */
export async function setUpLocal() {
  await installPackages(['build'], progress);
  await installNpmPackages(progress);
  await Promise.all([buildNative(progress), build()]);
}

/** QEMU too: enough to run the suites in a guest; the kernel is fetched by who boots it. */
export async function setUpVm() {
  await installPackages(['build', 'vm'], progress);
  await installNpmPackages(progress);
  await Promise.all([buildNative(progress), build()]);
}

/** Everything, so that nothing has to be fetched later: the default kernel and the headers for the tests too. */
export async function setUpAll({ update = false } = {}) {
  await setUpVm();
  await fetchDebianKernel(DEFAULT_KERNEL, progress, { update });
  await fetchKernelHeaders(progress);
}

/** What the project's own tests need besides: a browser for the HTML report. */
export async function setUpTests() {
  await installPackages(['build', 'vm', 'browser'], progress);
  await setUpAll();
}
