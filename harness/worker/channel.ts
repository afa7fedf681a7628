import { openSync, readSync, writeSync } from 'node:fs';
import { encodeLine, type Assignment, type Reply, type WorkerEvent } from '../protocol/events.ts';

/** The worker's end of the line to the supervisor: blocking, so that what was sent has been sent. */
export class Channel {
  readonly #fd: number;
  #pending = Buffer.alloc(0);
  #seq = 0;

  /** @param where path of a character device or socket, or `fd:N`. */
  constructor(where: string) {
    this.#fd = where.startsWith('fd:') ? Number(where.slice(3)) : openSync(where, 'r+');
  }

  send(event: WorkerEvent): void {
    const bytes = Buffer.from(encodeLine(event));
    for (let sent = 0; sent < bytes.length;) {
      try {
        sent += writeSync(this.#fd, bytes, sent);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        pause();
      }
    }
  }

  /** Sends a request and blocks until it is answered. @throws Error with the supervisor's words. */
  ask(action: string, args: Record<string, unknown>): unknown {
    const seq = ++this.#seq;
    this.send({ type: 'request', seq, action, args });
    const reply = this.receive() as Reply;
    if (reply.type !== 'reply' || reply.seq !== seq) {
      throw new Error(`expected the reply to request ${seq}, received ${JSON.stringify(reply)}`);
    }
    if (!reply.ok) throw new Error(`${action}: ${reply.error ?? 'refused'}`);
    return reply.result;
  }

  /** The next line from the supervisor; blocks until it is there. */
  receive(): Assignment | Reply {
    const chunk = Buffer.alloc(65536);
    for (;;) {
      const end = this.#pending.indexOf(10);
      if (end >= 0) {
        const line = this.#pending.toString('utf8', 0, end);
        this.#pending = this.#pending.subarray(end + 1);
        return JSON.parse(line) as Assignment | Reply;
      }
      const length = this.#read(chunk);
      this.#pending = Buffer.concat([this.#pending, chunk.subarray(0, length)]);
    }
  }

  #read(chunk: Buffer): number {
    try {
      const length = readSync(this.#fd, chunk);
      // A virtio port reads 0 while the host's end is not connected.
      if (length === 0) pause();
      return length;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      pause();
      return 0;
    }
  }
}

function pause(): void {
  const MILLISECONDS = 5;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, MILLISECONDS);
}
