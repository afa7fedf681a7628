import { createServer, connect, type Server, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { QmpClient, QmpError } from './qmp.ts';

interface Command {
  execute: string;
  arguments?: Record<string, unknown>;
  id: number;
}

/** Plays QEMU: greets, and answers by what is set. */
let answer: (command: Command, socket: Socket) => void;
let folder: string;
let server: Server;
let client: QmpClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qmp-'));
  const path = join(folder, 'socket');
  answer = ({ id }, socket) => socket.write(`{"return": {}, "id": ${id}}\r\n`);
  server = createServer((socket) => {
    socket.write('{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}}}\r\n');
    socket.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString().split('\n').filter(Boolean))
        answer(JSON.parse(line) as Command, socket);
    });
    socket.on('error', () => {});
  }).listen(path);
  await once(server, 'listening');
  client = await QmpClient.connect(connect(path));
});

afterEach(() => {
  client.close();
  server.close();
  rmSync(folder, { recursive: true });
});

it('reads the version and leaves negotiation mode', () => {
  expect(client.version).toBe('10.0.2');
});

it('gives each command its own answer, whatever the order', async () => {
  const waiting: Command[] = [];
  answer = (command, socket) => {
    waiting.push(command);
    if (waiting.length < 2) return;
    for (const { id, execute } of waiting.reverse())
      socket.write(`{"return": "${execute}", "id": ${id}}\r\n`);
  };
  expect(await Promise.all([client.execute('first'), client.execute('second')])).toEqual([
    'first',
    'second',
  ]);
});

it("rejects with QEMU's words", async () => {
  answer = ({ id }, socket) =>
    socket.write(
      `{"error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}, "id": ${id}}\n`,
    );
  const failure = await client.execute('device_del', { id: 'x' }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(QmpError);
  expect(failure).toMatchObject({
    message: "device_del: Device 'x' not found",
    class: 'DeviceNotFound',
  });
});

it('hands commands of the human monitor through', async () => {
  answer = ({ id, arguments: args }, socket) =>
    socket.write(
      JSON.stringify({ return: `did ${String(args?.['command-line'])}\r\n`, id }) + '\n',
    );
  expect(await client.hmp('info status')).toBe('did info status\n');
});

it('emits events, also when a line arrives in pieces', async () => {
  const seen = once(client, 'event');
  answer = ({ id }, socket) => {
    socket.write('{"event": "GUEST_PANI');
    setTimeout(
      () => socket.write(`CKED", "data": {"action": "pause"}}\n{"return": 1, "id": ${id}}\n`),
      20,
    );
  };
  await client.execute('anything');
  expect(await seen).toEqual(['GUEST_PANICKED', { action: 'pause' }]);
});

it('rejects what is open when QEMU ends, and everything after', async () => {
  answer = (_command, socket) => socket.destroy();
  await expect(client.execute('quit')).rejects.toThrow('QEMU has ended');
  await expect(client.execute('again')).rejects.toThrow('QEMU has ended');
});
