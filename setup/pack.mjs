import { join } from 'node:path';
import { installPackages } from './debian-packages.mjs';
import { exitWith } from './failure.mjs';
import { projectFolder } from './paths.mjs';
import { progress } from './progress.mjs';
import { run } from './shell.mjs';
import { setUpLocal } from './steps.mjs';

/** The compilers for the machines that the package has a shim for, by Node's names for these. */
const COMPILERS = { x64: 'x86_64-linux-gnu-gcc', arm64: 'aarch64-linux-gnu-gcc' };

/** Before `npm pack`: makes what a machine without the sources, npm's registry or a compiler needs. */
await exitWith(async () => {
  await setUpLocal();
  await installPackages(['pack'], progress);
  for (const [machine, compiler] of Object.entries(COMPILERS)) {
    progress(`building the shim for ${machine}`);
    const native = join(projectFolder, 'native');
    await run('make', ['-s', '-C', native, `BUILD=prebuilt/${machine}`, `CC=${compiler}`]);
  }
});
