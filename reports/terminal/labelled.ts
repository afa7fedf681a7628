import type { Terminal } from './display.ts';

/** A place to write to beside others on the same terminal: each line says whose it is. */
export function labelled(out: Terminal, label: string): Terminal {
  return {
    isTTY: false,
    write: (text) => out.write(text.replace(/^(?=.)/gm, `${label} | `)),
  };
}
