import picocolors from 'picocolors';
import type { Status } from '../../harness/protocol/test.ts';

export type Colors = ReturnType<typeof picocolors.createColors>;

/** Colours on a terminal that knows them, unless NO_COLOR (no-color.org) is set; FORCE_COLOR wins. */
export function colorsFor(
  stream: { isTTY?: boolean },
  env: NodeJS.ProcessEnv = process.env,
): Colors {
  const forced = env['FORCE_COLOR'] !== undefined && env['FORCE_COLOR'] !== '0';
  const wanted = stream.isTTY === true && env['TERM'] !== 'dumb' && !env['NO_COLOR'];
  return picocolors.createColors(forced || wanted);
}

/** The word for a status, all of the same width, in its colour. */
export function statusWord(status: Status, colors: Colors): string {
  const word = status.padEnd(7);
  switch (status) {
    case 'pass':
      return colors.green(word);
    case 'skip':
    case 'xfail':
      return colors.yellow(word);
    case 'error':
      return colors.magenta(word);
    default:
      return colors.red(word);
  }
}
