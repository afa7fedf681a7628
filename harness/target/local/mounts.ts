import { join } from 'node:path';
import { readText } from './files.ts';

/** A mounted file system, from proc_pid_mountinfo(5). */
export interface Mount {
  /** `major:minor` of the device; an anonymous number for file systems without one of their own. */
  dev: string;
  place: string;
  type: string;
  source: string;
  /** Of the file system. */
  options: string;
}

/** What is mounted, as this process sees it. */
export function readMounts(proc: string): Mount[] {
  return readText(join(proc, 'self/mountinfo'))
    .split('\n')
    .flatMap((line) => {
      const [left = '', right = ''] = line.split(' - ');
      const [, , dev, , place] = left.split(' ');
      const [type, source = '', options = ''] = right.split(' ');
      if (dev === undefined || place === undefined || type === undefined) return [];
      return [{ dev, place: unescape(place), type, source: unescape(source), options }];
    });
}

/** Blanks and the like are written as `\040`. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(parseInt(octal, 8)),
  );
}
