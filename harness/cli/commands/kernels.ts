import type { CommandModule } from 'yargs';
import { knownKernels } from '../../target/vm/kernels.ts';

export const kernels: CommandModule<object, { json: boolean }> = {
  command: 'kernels',
  describe: 'print the kernels that have a name, and which of them are fetched',
  builder: (yargs) =>
    yargs
      .option('json', { describe: 'as a JSON array', type: 'boolean', default: false })
      .epilogue(
        'Besides these names, `run --kernel` takes the path of a vmlinuz or bzImage, of a kernel build\n' +
          'tree, of a linux-image .deb, or of a folder with .debs.',
      ),
  handler: ({ json }) => {
    const known = knownKernels();
    if (json) {
      process.stdout.write(JSON.stringify(known, null, 2) + '\n');
      return;
    }
    for (const { name, release, isDefault } of known) {
      const state = release ?? 'not fetched yet: the first run fetches it';
      process.stdout.write(`${name.padEnd(20)} ${state}${isDefault ? '  (default)' : ''}\n`);
    }
  },
};
