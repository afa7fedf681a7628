/** Where the machine's files are; a test gives others. */
export interface Roots {
  sys: string;
  proc: string;
}

export const MACHINE: Roots = { sys: '/sys', proc: '/proc' };

/** Something that uses a device now. */
export interface Use {
  /** In words: `vda1 is mounted at /mnt`. */
  what: string;
  /** Whether `--force` may take it away: never where data or this very login could be lost. */
  forcible: boolean;
}
