import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

/** An answer of QEMU's that is an error. */
export class QmpError extends Error {
  readonly class: string;
  constructor(command: string, error: { class: string; desc: string }) {
    super(`${command}: ${error.desc}`);
    this.name = 'QmpError';
    this.class = error.class;
  }
}

interface QmpMessage {
  QMP?: { version?: { qemu?: { major: number; minor: number; micro: number } } };
  event?: string;
  data?: Record<string, unknown>;
  id?: number;
  return?: unknown;
  error?: { class: string; desc: string };
}

interface Pending {
  command: string;
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/**
 * QEMU's machine protocol over a socket. Emits `event` with QEMU's name for it and its data.
 * Commands that are open when the socket closes are rejected.
 */
export class QmpClient extends EventEmitter<{ event: [string, Record<string, unknown>] }> {
  /** QEMU's version, from its greeting. */
  version = '';
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  #serial = 0;
  #rest = '';
  #closed = false;
  #greeted: () => void = () => {};

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.#receive(chunk));
    socket.on('error', () => this.#close());
    socket.on('close', () => this.#close());
  }

  /** Waits for the greeting and leaves negotiation mode. */
  static async connect(socket: Socket): Promise<QmpClient> {
    const client = new QmpClient(socket);
    await new Promise<void>((resolve, reject) => {
      client.#greeted = resolve;
      socket.once('close', () => reject(new Error('QMP closed before its greeting')));
    });
    await client.execute('qmp_capabilities');
    return client;
  }

  /** Issues a command and gives what QEMU returns. */
  execute(command: string, args?: Record<string, unknown>): Promise<unknown> {
    if (this.#closed) return Promise.reject(new Error(`${command}: QEMU has ended`));
    const id = ++this.#serial;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
      this.#socket.write(JSON.stringify({ execute: command, arguments: args, id }) + '\n');
    });
  }

  /** Issues a command of the human monitor and gives what it prints. */
  async hmp(commandLine: string): Promise<string> {
    const said = await this.execute('human-monitor-command', { 'command-line': commandLine });
    return String(said).replaceAll('\r', '');
  }

  close(): void {
    this.#socket.destroy();
    this.#close();
  }

  #receive(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim()) this.#handle(JSON.parse(line) as QmpMessage);
  }

  #handle(message: QmpMessage): void {
    if (message.QMP) {
      const { major = 0, minor = 0, micro = 0 } = message.QMP.version?.qemu ?? {};
      this.version = `${major}.${minor}.${micro}`;
      this.#greeted();
    } else if (message.event) {
      this.emit('event', message.event, message.data ?? {});
    } else if (message.id !== undefined) {
      const pending = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error) pending?.reject(new QmpError(pending.command, message.error));
      else pending?.resolve(message.return);
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { command, reject } of this.#pending.values())
      reject(new Error(`${command}: QEMU has ended`));
    this.#pending.clear();
  }
}
