import { build } from './build.mjs';
import { DEFAULT_KERNEL, fetchDebianKernel } from './debian-kernels.mjs';
import { installPackages } from './debian-packages.mjs';
import { SetupError } from './failure.mjs';
import { fetchKernelHeaders } from './kernel-headers.mjs';
import { buildNative, hasPrebuiltShim } from './native-build.mjs';
import { installNpmPackages } from './npm-packages.mjs';
import { isPackage } from './paths.mjs';
import { progress } from './progress.mjs';

/** What a command may rely on, each including what it rests on itself. */

/** npm packages and the bundles in dist/: enough to list tests and to look at results. */
export async function setUpBundles() {
  // npm has installed the packages, and the bundles came along.
  if (isPackage) return;
  await installNpmPackages(progress);
  await build();
}

/** The shim too: enough to run the suites on this machine. */
export async function setUpLocal() {
  await installPackages(shimNeeds(), progress);
  await Promise.all([setUpBundles(), buildNative(progress)]);
}

/**
 * A guest is a machine with this one's programs: Node.js and the shim come to it from here.
 * @throws SetupError where that cannot be, before anything is fetched for it
 */
function checkGuestsCanRun() {
  if (process.arch === 'x64') return;
  throw new SetupError(
    `the virtual machines are x86-64 ones, and this machine is ${process.arch}`,
    'name a device of this machine with --device (`vfio-conformance devices` lists them), or use an x86-64 machine',
  );
}

/** QEMU too: enough to run the suites in a guest; the kernel is fetched by who boots it. */
export async function setUpVm() {
  checkGuestsCanRun();
  await installPackages([...shimNeeds(), 'vm'], progress);
  await Promise.all([setUpBundles(), buildNative(progress)]);
}

/** @returns {('build')[]} a compiler, unless there is a shim already */
function shimNeeds() {
  return hasPrebuiltShim() ? [] : ['build'];
}

/** Everything, so that nothing has to be fetched later: the default kernel and the headers for the tests too. */
export async function setUpAll({ update = false } = {}) {
  await setUpVm();
  await fetchDebianKernel(DEFAULT_KERNEL, progress, { update });
  await fetchKernelHeaders(progress);
}

/** What the project's own tests need besides: a browser for the HTML report. */
export async function setUpTests() {
  checkGuestsCanRun();
  await installPackages(['build', 'vm', 'browser'], progress);
  await setUpAll();
}
