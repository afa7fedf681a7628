import { closeSync, openSync, writeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  encodeLine,
  PROTOCOL_VERSION,
  type Assignment,
  type LastCalls,
  type Reply,
} from '../../protocol/events.ts';
import { readLastCalls } from '../black-box.ts';
import { onLines } from '../lines.ts';
import type { Session, SessionEnd, SessionHandlers } from '../target.ts';
import { parseWorkerLine } from '../worker-line.ts';
import { findEmulatorFault, findPanic, lastLines } from './console.ts';
import { type PlacedDevice } from './machine.ts';
import { answerRequest } from './outside.ts';
import { QmpClient } from './qmp.ts';
import { connectSocket, type Emulator } from './qemu.ts';
import type { SessionFiles } from './session-files.ts';

/** A guest that runs: what its sockets and its console tell, and how it ended. */
export class VmSession implements Session {
  readonly ended: Promise<SessionEnd>;
  readonly #emulator: Emulator;
  readonly #devices: PlacedDevice[];
  readonly #files: SessionFiles;
  readonly #keyboard: number;
  readonly #handlers: SessionHandlers;
  readonly #limits: { bootTimeoutMs: number; powerOffMs: number };
  #qmp: QmpClient | undefined;
  #eventsSocket: Socket | undefined;
  #hello = false;
  #bye = false;
  #killed = false;
  #panicked = false;
  #workerExit: string | undefined;
  #trouble: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    emulator: Emulator,
    devices: PlacedDevice[],
    files: SessionFiles,
    handlers: SessionHandlers,
    limits: { bootTimeoutMs: number; powerOffMs: number },
  ) {
    this.#emulator = emulator;
    this.#devices = devices;
    this.#files = files;
    // For reading too: opening a FIFO for writing alone would wait for QEMU.
    this.#keyboard = openSync(files.consoleInput, 'r+');
    this.#handlers = handlers;
    this.#limits = limits;
    this.#deadline(limits.bootTimeoutMs, 'the worker did not say hello');
    this.ended = emulator.exited.then(async (how) => {
      clearTimeout(this.#timer);
      // What QEMU wrote last may still be on its way through the sockets.
      await sleep(50);
      this.#qmp?.close();
      closeSync(this.#keyboard);
      this.#eventsSocket?.destroy();
      return this.#judge(how);
    });
  }

  /** Connects to QEMU's sockets and hands the worker its assignment, which QEMU keeps until it asks. */
  async connect(assignment: Omit<Assignment, 'type' | 'protocol'>): Promise<void> {
    const { sockets } = this.#files;
    try {
      const status = await connectSocket(sockets.status, this.#emulator);
      onLines(status, (line) => this.#status(line));
      const events = await connectSocket(sockets.events, this.#emulator);
      this.#eventsSocket = events;
      onLines(events, (line) => this.#event(line));
      events.write(encodeLine({ type: 'assignment', protocol: PROTOCOL_VERSION, ...assignment }));
      const qmp = await QmpClient.connect(await connectSocket(sockets.qmp, this.#emulator));
      this.#qmp = qmp;
      qmp.on('event', (name) => {
        if (name === 'GUEST_PANICKED') this.#panicked = true;
      });
    } catch (error) {
      this.#trouble ??= (error as Error).message;
      this.#emulator.process.kill('SIGKILL');
    }
  }

  async hangEvidence(): Promise<string[]> {
    const lines: string[] = [];
    const gather = async (title: string, body: () => Promise<string>): Promise<void> => {
      try {
        lines.push(`== ${title}`, ...lastLines(await body(), 400));
      } catch (error) {
        lines.push(`== ${title}: ${(error as Error).message}`);
      }
    };
    const qmp = this.#qmp;
    if (!qmp) return ['QEMU is not connected'];
    await gather('CPU registers', async () => {
      const said = await qmp.hmp('info registers -a');
      return said.replace(/^(?:FPR|FCW|[XYZ]MM).*\n/gm, '');
    });
    await gather('blocked tasks (sysrq w)', () => this.#sysrq('w'));
    await gather('CPUs (sysrq l)', () => this.#sysrq('l'));
    await gather('all tasks (sysrq t)', () => this.#sysrq('t'));
    return lines;
  }

  lastCalls(title: string): Promise<LastCalls> {
    return readLastCalls(this.#files.blackBox, title);
  }

  async kill(): Promise<void> {
    this.#killed = true;
    this.#emulator.process.kill('SIGKILL');
    await this.ended;
  }

  /** A break on the serial console, then the key: what the kernel prints within a few seconds. */
  async #sysrq(key: string): Promise<string> {
    const before = this.#files.console.position();
    await this.#qmp?.execute('chardev-send-break', { id: 'console' });
    writeSync(this.#keyboard, key);
    let position = -1;
    for (let i = 0; i < 12 && position !== this.#files.console.position(); i++) {
      position = this.#files.console.position();
      await sleep(400);
    }
    return this.#files.console.text(before) || 'no answer: interrupts are off or the CPU is stuck';
  }

  #event(line: string): void {
    const event = parseWorkerLine(line);
    if (event.type === 'hello') {
      this.#hello = true;
      clearTimeout(this.#timer);
    } else if (event.type === 'bye') {
      this.#bye = true;
    } else if (event.type === 'request') {
      const { seq } = event;
      const respond = (reply: Omit<Reply, 'type' | 'seq'>): void => {
        this.#eventsSocket?.write(encodeLine({ type: 'reply', seq, ...reply }));
      };
      const answer =
        this.#handlers.answer?.(event.action, event.args) ??
        answerRequest(this.#qmp, this.#devices, event.action, event.args);
      answer.then(
        (result) => respond({ ok: true, result }),
        (error: Error) => respond({ ok: false, error: error.message }),
      );
    }
    this.#handlers.onEvent(event);
  }

  /** A line of `guest-init.sh`. */
  #status(line: string): void {
    const [word = '', ...rest] = line.split(' ');
    const text = rest.join(' ');
    if (word === 'worker-exit') {
      this.#workerExit = text;
      clearTimeout(this.#timer);
      this.#deadline(this.#limits.powerOffMs, 'the guest did not power off');
    } else if (word === 'failed') {
      this.#trouble = text;
    } else if (word === 'booted') {
      this.#handlers.onProgress(`Linux ${text} runs, starting the worker`);
    } else if (word === 'before' || word === 'after') {
      this.#handlers.onProgress(`running the command of --${word}`);
    } else if (word === 'missing' || word === 'hook-failed') {
      this.#handlers.onProgress(line.replace('hook-failed ', ''));
    }
  }

  #deadline(ms: number, what: string): void {
    if (!Number.isFinite(ms)) return;
    this.#timer = setTimeout(() => {
      this.#trouble ??= `${what} within ${Math.round(ms / 1000)} s`;
      this.#emulator.process.kill('SIGKILL');
    }, ms);
  }

  #judge(how: string): SessionEnd {
    const stderr = this.#emulator.stderr();
    const console = this.#files.console.text();
    const tail = lastLines(console, 60);
    const end = (kind: SessionEnd['kind'], detail: string): SessionEnd => ({ kind, detail, tail });
    const fault = findEmulatorFault(stderr, console);
    if (this.#bye) return end('clean', this.#trouble ?? `the worker ended, QEMU with ${how}`);
    if (fault) return end('infrastructure', `QEMU broke: ${fault}`);
    if (this.#killed) return end('killed', 'killed by the supervisor');
    const panic = findPanic(console);
    if (this.#hello && (panic || this.#panicked))
      return end('guest-panic', panic ?? 'the guest said that it panicked');
    if (!this.#hello) {
      const why = this.#trouble ?? panic ?? lastLines(stderr, 3).join(' ');
      return end('infrastructure', `the guest did not come up: ${why || `QEMU ended with ${how}`}`);
    }
    if (this.#workerExit !== undefined)
      return end('worker-died', `the worker ended with status ${this.#workerExit}`);
    if (/^signal|^status [1-9]/.test(how))
      return end('infrastructure', `QEMU ended with ${how}: ${lastLines(stderr, 3).join(' ')}`);
    return end('guest-died', this.#trouble ?? 'the guest reset or powered off by itself');
  }
}
