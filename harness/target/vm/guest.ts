import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetupError } from '../../../setup/failure.mjs';
import { projectFolder, workerBundle } from '../../../setup/paths.mjs';
import { encodeLine, PROTOCOL_VERSION, type LastCalls, type Reply } from '../../protocol/events.ts';
import {
  BLACK_BOX_SIZE,
  createBlackBox,
  readLastCalls,
  removeNeedlessBlackBox,
} from '../black-box.ts';
import { laneSuffix } from '../lanes.ts';
import { UnsupportedError } from '../errors.ts';
import { RISK_NAMES } from '../../protocol/risks.ts';
import { onLines } from '../lines.ts';
import { COUNTED_CLOCK } from '../clock.ts';
import type { Session, SessionEnd, SessionHandlers, Target, Work } from '../target.ts';
import { parseWorkerLine } from '../worker-line.ts';
import { chooseAccelerator, type Accelerator } from './accelerator.ts';
import {
  BLACK_BOX_IN_GUEST,
  linuxCommandLine,
  qemuArguments,
  type Sockets,
} from './command-line.ts';
import { ConsoleFile } from './console-file.ts';
import { findEmulatorFault, findPanic, lastLines } from './console.ts';
import { buildInitramfs, shellQuote } from './initramfs.ts';
import { overlayModules, resolveKernel, type Kernel } from './kernels.ts';
import { absentModules } from './modules.ts';
import { placeDevices, rolePaths, type Machine, type PlacedDevice } from './machine.ts';
import { findMachine } from './machines.ts';
import { answerRequest, VM_ABILITIES } from './outside.ts';
import { QmpClient } from './qmp.ts';
import { connectSocket, qemuVersion, startQemu, type Emulator } from './qemu.ts';
import { optionRom } from './rom.ts';
import { fastestImage } from './vmlinux.ts';

/** What `vfio-conformance run` lets the user choose about the guest. */
export interface VmOptions {
  /** Name of a Debian suite, or a path: see `resolveKernel`. */
  kernel: string;
  /** Folder with freshly built modules. */
  modules?: string;
  /** Name of a machine: see `machines.ts`. */
  machine: string;
  /** Words for the Linux command line. */
  append: string[];
  /** Arguments for QEMU. */
  qemuArgs: string[];
  /** Shell commands in the guest, as root, around the worker. */
  before?: string;
  after?: string;
  /** The console goes to `console.log` here, the guest's `$RESULTS` is `guest/`. */
  resultsDir: string;
  /** Number of this machine among those that run side by side; from 1 on it is part of those names. */
  lane?: number;
  /** Milliseconds from power-on until the worker has to say hello, `--before` included. */
  bootTimeoutMs?: number;
  /**
   * Lets an emulated machine's clock count instructions, one a nanosecond, instead of following that of
   * the host: then what else the host does has no part in what a guest measures. Not under KVM.
   */
  countInstructions?: boolean;
}

const BOOT_TIMEOUT_MS = 180_000;
/** Factor on time limits of a machine that counts instructions: it is slower, and so is its clock. */
const COUNTING_SCALE = 3;
/** After the worker has ended the guest only has to sync and power off; without `--after`, that is. */
const POWER_OFF_MS = 30_000;
/** Folders that are fresh in the guest: what is needed from them is mounted again. */
const FRESH_FOLDERS = ['/tmp', '/run', '/dev'];

/** Prepares a virtual machine: kernel, modules, accelerator. Each session boots it anew. */
export async function prepareVm(
  options: VmOptions,
  progress: (text: string) => void,
): Promise<Target> {
  const machine = findMachine(options.machine);
  const version = qemuVersion();
  if (!version) throw new SetupError('QEMU is not installed', 'run `npm run setup`');
  let kernel = await resolveKernel(options.kernel, progress);
  if (options.modules) kernel = await overlayModules(kernel, options.modules, progress);
  const absent = absentModules(machine.firstModules, kernel.modulesDir ?? '');
  if (absent.length > 0) {
    throw new UnsupportedError(
      `Linux ${kernel.release} was built without ${absent.join(', ')}, which the machine ${machine.name} needs`,
      'choose another machine or kernel',
    );
  }
  const accelerator = await chooseAccelerator(kernel, progress);
  return new VmTarget(options, machine, kernel, accelerator, version);
}

class VmTarget implements Target {
  readonly name = 'vm';
  readonly assignment: Target['assignment'];
  readonly timeoutScale: number;
  readonly #options: VmOptions;
  readonly #machine: Machine;
  readonly #kernel: Kernel;
  readonly #accelerator: Accelerator;
  readonly #version: string;
  readonly #counting: boolean;

  constructor(
    options: VmOptions,
    machine: Machine,
    kernel: Kernel,
    accelerator: Accelerator,
    version: string,
  ) {
    this.#options = options;
    this.#machine = machine;
    this.#kernel = kernel;
    this.#accelerator = accelerator;
    this.#version = version;
    this.#counting = options.countInstructions === true && accelerator.name === 'tcg';
    this.timeoutScale = accelerator.timeoutScale * (this.#counting ? COUNTING_SCALE : 1);
    this.assignment = {
      mode: 'vm',
      roles: rolePaths(machine),
      devices: [],
      abilities: VM_ABILITIES,
      allowed: RISK_NAMES,
      blackBox: { path: BLACK_BOX_IN_GUEST, size: BLACK_BOX_SIZE },
    };
  }

  describe(): Record<string, string> {
    return {
      target: 'vm',
      machine: this.#machine.name,
      'machine description': this.#machine.title,
      kernel: this.#kernel.release,
      'kernel source': this.#kernel.name,
      'kernel image': this.#kernel.vmlinuz,
      'SHA-256 of the kernel image': fileHash(this.#kernel.vmlinuz),
      ...(this.#kernel.config !== null && {
        'SHA-256 of the kernel config': fileHash(this.#kernel.config),
      }),
      ...(this.#options.modules ? { 'modules laid over': this.#options.modules } : {}),
      QEMU: this.#version,
      accelerator: this.#accelerator.argument,
      clock: this.#counting ? COUNTED_CLOCK : "the host's",
      'accelerator chosen because': this.#accelerator.reason,
      'kernel command line': linuxCommandLine(this.#machine, this.#options.append),
    };
  }

  /** A guest leaves nothing behind. */
  release(): string[] {
    return [];
  }

  async start(work: Work, handlers: SessionHandlers): Promise<Session> {
    const options = this.#options;
    const folder = socketFolder();
    const suffix = laneSuffix(options.lane);
    const resultsShare = join(options.resultsDir, `guest${suffix}`);
    mkdirSync(resultsShare, { recursive: true });
    const blackBox = join(options.resultsDir, `black-box${suffix}`);
    createBlackBox(blackBox);
    const rom = join(folder, 'option.rom');
    writeFileSync(rom, optionRom());
    const sockets: Sockets = {
      qmp: join(folder, 'qmp'),
      events: join(folder, 'events'),
      status: join(folder, 'status'),
    };
    const consoleInput = join(folder, 'console-input');
    execFileSync('mkfifo', [consoleInput]);
    const console = new ConsoleFile(join(options.resultsDir, `console${suffix}.log`));
    const devices = placeDevices(this.#machine, rom);
    const initramfs = buildInitramfs(
      this.#kernel,
      this.#machine.firstModules,
      {
        PROJECT: projectFolder,
        KEEP: keptFolders([projectFolder, process.execPath, this.#kernel.modulesDir ?? '/']).join(
          ' ',
        ),
        MODULES_DIR: this.#kernel.modulesDir ?? '',
        WORKER: [process.execPath, ...WORKER_FLAGS, workerBundle].map(shellQuote).join(' '),
        BEFORE: options.before ?? '',
        AFTER: options.after ?? '',
      },
      moduleParameters([...this.#machine.append, ...options.append]),
    );
    handlers.onProgress(`booting Linux ${this.#kernel.release}`);
    const emulator = startQemu(
      qemuArguments({
        machine: this.#machine,
        devices,
        accelerator: this.#accelerator,
        vmlinuz: fastestImage(this.#kernel.vmlinuz),
        initramfs,
        append: options.append,
        extra: [...(this.#counting ? ['-icount', 'shift=0'] : []), ...options.qemuArgs],
        consoleLog: console.path,
        consoleInput,
        resultsShare,
        blackBox,
        sockets,
      }),
    );
    const session = new VmSession(emulator, devices, console, consoleInput, blackBox, handlers, {
      bootTimeoutMs: (options.bootTimeoutMs ?? BOOT_TIMEOUT_MS) * this.timeoutScale,
      powerOffMs: options.after ? Infinity : POWER_OFF_MS * this.timeoutScale,
    });
    void session.ended.then((end) => {
      removeNeedlessBlackBox(blackBox, end);
      rmSync(folder, { recursive: true, force: true });
      try {
        rmdirSync(resultsShare); // stays only if the guest put something there
      } catch {
        // not empty
      }
    });
    await session.connect(
      sockets,
      encodeLine({
        type: 'assignment',
        protocol: PROTOCOL_VERSION,
        ...work,
        ...this.assignment,
      }),
    );
    return session;
  }
}

/**
 * A folder for sockets, whose paths must be short, so not below the results. Those of supervisors
 * that were killed are removed on the way.
 */
function socketFolder(): string {
  const prefix = 'vfio-conformance-';
  for (const name of readdirSync(tmpdir())) {
    const owner = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1];
    if (owner && !existsSync(`/proc/${owner}`))
      try {
        rmSync(join(tmpdir(), name), { recursive: true, force: true });
      } catch {
        // another user's
      }
  }
  return mkdtempSync(join(tmpdir(), `${prefix}${process.pid}-`));
}

/** Node's own threads cost more than they bring on emulated CPUs. */
const WORKER_FLAGS = ['--v8-pool-size=0', '--enable-source-maps'];

class VmSession implements Session {
  readonly ended: Promise<SessionEnd>;
  readonly #emulator: Emulator;
  readonly #devices: PlacedDevice[];
  readonly #console: ConsoleFile;
  readonly #keyboard: number;
  readonly #blackBox: string;
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
    console: ConsoleFile,
    consoleInput: string,
    blackBox: string,
    handlers: SessionHandlers,
    limits: { bootTimeoutMs: number; powerOffMs: number },
  ) {
    this.#emulator = emulator;
    this.#devices = devices;
    this.#console = console;
    // For reading too: opening a FIFO for writing alone would wait for QEMU.
    this.#keyboard = openSync(consoleInput, 'r+');
    this.#blackBox = blackBox;
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
  async connect(sockets: Sockets, assignment: string): Promise<void> {
    try {
      const status = await connectSocket(sockets.status, this.#emulator);
      onLines(status, (line) => this.#status(line));
      const events = await connectSocket(sockets.events, this.#emulator);
      this.#eventsSocket = events;
      onLines(events, (line) => this.#event(line));
      events.write(assignment);
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
    return readLastCalls(this.#blackBox, title);
  }

  async kill(): Promise<void> {
    this.#killed = true;
    this.#emulator.process.kill('SIGKILL');
    await this.ended;
  }

  /** A break on the serial console, then the key: what the kernel prints within a few seconds. */
  async #sysrq(key: string): Promise<string> {
    const before = this.#console.position();
    await this.#qmp?.execute('chardev-send-break', { id: 'console' });
    writeSync(this.#keyboard, key);
    let position = -1;
    for (let i = 0; i < 12 && position !== this.#console.position(); i++) {
      position = this.#console.position();
      await sleep(400);
    }
    return this.#console.text(before) || 'no answer: interrupts are off or the CPU is stuck';
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
    const console = this.#console.text();
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

function fileHash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/** The given paths (or their folders) that lie in a folder which the guest replaces. */
export function keptFolders(paths: string[]): string[] {
  return paths
    .filter((path) => FRESH_FOLDERS.some((fresh) => path.startsWith(fresh + sep)))
    .map((path) => (path === process.execPath ? join(path, '../..') : path));
}

/** `vfio_iommu_type1.allow_unsafe_interrupts=1` of a command line, by module. */
export function moduleParameters(words: string[]): Record<string, string> {
  const parameters: Record<string, string> = {};
  for (const word of words) {
    const match = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_]+(?:=.*)?)$/.exec(word);
    if (!match) continue;
    const module = (match[1] ?? '').replaceAll('-', '_');
    parameters[module] = [parameters[module], match[2]].filter(Boolean).join(' ');
  }
  return parameters;
}
