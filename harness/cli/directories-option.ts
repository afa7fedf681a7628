import type { PositionalOptions } from 'yargs';

/** The positional argument of commands that read any number of runs. */
export const DIRECTORIES = {
  describe: 'results directories, or folders that hold some',
  type: 'string',
  array: true,
  demandOption: true,
} as const satisfies PositionalOptions;
