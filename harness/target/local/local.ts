import type { ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { workerBundle } from '../../../setup/paths.mjs';
import {
  encodeLine,
  PROTOCOL_VERSION,
  type LastCalls,
  type WorkerEvent,
} from '../../protocol/events.ts';
import type { Risk } from '../../protocol/risks.ts';
import {
  BLACK_BOX_SIZE,
  createBlackBox,
  readLastCalls,
  removeNeedlessBlackBox,
} from '../black-box.ts';
import { spawnDependent } from '../death.ts';
import { onLines } from '../lines.ts';
import {
  BOOT_ID,
  type Session,
  type SessionEnd,
  type SessionHandlers,
  type Target,
} from '../target.ts';
import { parseWorkerLine } from '../worker-line.ts';
import { localFacts } from './facts.ts';
import { namesIn, readText } from './files.ts';
import { describeBound, insideCgroup, killsForMemory, memoryBound } from './memory-cap.ts';
import { takeDevices, type TakeOptions } from './taking.ts';

/** What `vfio-conformance run --device` lets the user choose. */
export interface LocalOptions extends Omit<TakeOptions, 'memory'> {
  /** What the tests may do to this machine beyond using the devices. */
  allowed: Risk[];
  /** Bytes that the run may take. */
  memoryBytes?: number;
  /** The worker's own output goes to `console.log` here. */
  resultsDir: string;
}

/** A killed process that is stuck in the kernel does not end; nobody can wait for it forever. */
const UNKILLABLE_MS = 30_000;
/** Lines of the worker's output kept for a report. */
const TAIL = 60;

/**
 * This machine as the target: takes the devices, which {@link Target.release} gives back.
 * @throws UsageError if a device is not there or in use, or if the user declines
 */
export async function prepareLocal(options: LocalOptions): Promise<Target> {
  const memory = options.memoryBytes === undefined ? undefined : memoryBound(options.memoryBytes);
  const taken = await takeDevices({ ...options, memory });
  const devices = taken.bdfs;
  const cgroup = memory?.cgroup?.folder;
  const blackBox = { path: join(options.resultsDir, 'black-box'), size: BLACK_BOX_SIZE };
  const assignment = {
    mode: 'local' as const,
    roles: {},
    devices,
    abilities: [],
    allowed: options.allowed,
    memoryBytes: memory?.perTest,
    blackBox,
  };
  let isUnsettled = false;
  return {
    name: 'local',
    timeoutScale: 1,
    assignment,
    release: () => taken.giveBack(),
    describe: () => ({
      ...localFacts(devices),
      ...(memory && { 'memory limit': describeBound(memory) }),
      [BOOT_ID]: readText('/proc/sys/kernel/random/boot_id'),
    }),
    start(work, handlers) {
      if (isUnsettled)
        taken.settle().forEach((text) => handlers.onProgress(`not put back: ${text}`));
      createBlackBox(blackBox.path);
      const worker = [process.execPath, '--enable-source-maps', workerBundle, '--channel', 'fd:3'];
      const [command, ...args] = cgroup === undefined ? worker : insideCgroup(cgroup, worker);
      const child = spawnDependent(
        command!,
        args,
        // The fourth is a socket pair: the worker reads and writes it synchronously.
        ['ignore', 'pipe', 'pipe', 'pipe'],
      );
      const log = join(options.resultsDir, 'console.log');
      const session = new LocalSession(child, handlers, { log, blackBox: blackBox.path, cgroup });
      void session.ended.then((end) => {
        isUnsettled = end.kind !== 'clean';
        removeNeedlessBlackBox(blackBox.path, end);
      });
      session.send(
        encodeLine({
          type: 'assignment',
          protocol: PROTOCOL_VERSION,
          ...work,
          ...assignment,
        }),
      );
      return Promise.resolve(session);
    },
  };
}

/** Where a session leaves its traces. */
interface Places {
  log: string;
  blackBox: string;
  cgroup: string | undefined;
}

class LocalSession implements Session {
  readonly ended: Promise<SessionEnd>;
  readonly #child: ChildProcess;
  readonly #blackBox: string;
  #output = '';
  #bye = false;
  #killed = false;
  #giveUp: (end: SessionEnd) => void = () => {};

  constructor(child: ChildProcess, handlers: SessionHandlers, { log, blackBox, cgroup }: Places) {
    this.#child = child;
    this.#blackBox = blackBox;
    const file = createWriteStream(log, { flags: 'a' });
    // A full disk ends the run by its journal; until then the tests do not need this file.
    file.on('error', () => {});
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        file.write(chunk);
        this.#output = (this.#output + chunk.toString()).slice(-100_000);
      });
    onLines(child.stdio[3] as Socket, (line) => {
      const event = parseWorkerLine(line);
      if (event.type === 'bye') this.#bye = true;
      if (event.type === 'request') void this.#answer(event, handlers);
      handlers.onEvent(event);
    });
    const killsBefore = killsForMemory(cgroup);
    handlers.onProgress(`starting the worker as process ${child.pid}`);
    this.ended = new Promise((resolve) => {
      this.#giveUp = resolve;
      child.on('error', (error) => resolve(this.#end('infrastructure', error.message)));
      child.on('close', (code, signal) => {
        file.end();
        const how = signal ? `signal ${signal}` : `status ${code}`;
        if (this.#bye) resolve(this.#end('clean', 'the worker ended'));
        else if (this.#killed) resolve(this.#end('killed', 'killed by the supervisor'));
        else if (killsForMemory(cgroup) > killsBefore)
          resolve(this.#end('infrastructure', 'the worker took more than --memory allows'));
        else resolve(this.#end('worker-died', `the worker ended with ${how}`));
      });
    });
  }

  send(line: string): void {
    (this.#child.stdio[3] as Socket).write(line);
  }

  async #answer(
    { seq, action, args }: Extract<WorkerEvent, { type: 'request' }>,
    handlers: SessionHandlers,
  ): Promise<void> {
    const answer = handlers.answer?.(action, args);
    if (!answer) return this.send(refusal(seq, action));
    this.send(encodeLine({ type: 'reply', seq, ok: true, result: await answer }));
  }

  /** Where each thread of the worker is, in user space and in the kernel (the stack: as root only). */
  hangEvidence(): Promise<string[]> {
    const folder = `/proc/${this.#child.pid}/task`;
    const lines: string[] = [];
    for (const thread of namesIn(folder)) {
      const read = (name: string): string => readText(join(folder, thread, name));
      const state = /^State:\s*(.*)$/m.exec(read('status'))?.[1] ?? 'gone';
      lines.push(`thread ${thread} ${read('comm')}: ${state}, in ${read('wchan') || '0'}`);
      lines.push(`  system call ${read('syscall')}`);
      lines.push(
        ...read('stack')
          .split('\n')
          .filter(Boolean)
          .map((line) => `  ${line}`),
      );
    }
    return Promise.resolve(lines);
  }

  lastCalls(title: string): Promise<LastCalls> {
    return readLastCalls(this.#blackBox, title);
  }

  async kill(): Promise<void> {
    this.#killed = true;
    this.#child.kill('SIGKILL');
    const stuck = new AbortController();
    void sleep(UNKILLABLE_MS, undefined, { signal: stuck.signal }).then(
      () => this.#giveUp(this.#end('killed', 'killed, but it is stuck in the kernel and stays')),
      () => {},
    );
    await this.ended;
    stuck.abort();
  }

  #end(kind: SessionEnd['kind'], detail: string): SessionEnd {
    return { kind, detail, tail: this.#output.split('\n').filter(Boolean).slice(-TAIL) };
  }
}

/** On real hardware nobody can inject an error or unplug a device from outside. */
function refusal(seq: number, action: string): string {
  const error = `${action}: not possible on the local target`;
  return encodeLine({ type: 'reply', seq, ok: false, error });
}
