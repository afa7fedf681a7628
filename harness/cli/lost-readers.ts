import { closeSync } from 'node:fs';

/** What a write ends in where a pipe was closed (`list | head`), and where a terminal has hung up. */
const LOST = ['EPIPE', 'EIO'];

/**
 * Lets the program come to its own end when nobody reads its output any more: what it has to give
 * back and to write elsewhere is as much as before.
 */
export function outliveReaders(...streams: readonly NodeJS.EventEmitter[]): void {
  for (const stream of streams) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!LOST.includes(error.code ?? '')) throw error;
      if (error.code !== 'EIO') return;
      process.off('exit', leaveTerminal);
      process.on('exit', leaveTerminal);
    });
  }
}

/** Node.js sets up the terminal again at its end, and aborts with a core dump if that is gone. */
function leaveTerminal(): void {
  for (const fd of [0, 1, 2]) closeSync(fd);
}
