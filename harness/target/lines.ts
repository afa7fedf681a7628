import type { Socket } from 'node:net';

/** Calls back for each line that a peer writes; its going away is noticed by other means. */
export function onLines(socket: Socket, handle: (line: string) => void): void {
  let rest = '';
  socket.setEncoding('utf8');
  socket.on('error', () => {});
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line) handle(line);
  });
}
