import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import { SetupError } from '../../../setup/failure.mjs';
import { projectFolder, workerBundle } from '../../../setup/paths.mjs';
import { encodeLine, PROTOCOL_VERSION } from '../../protocol/events.ts';
import { BLACK_BOX_SIZE, createBlackBox, removeNeedlessBlackBox } from '../black-box.ts';
import { laneSuffix } from '../lanes.ts';
import { UnsupportedError } from '../errors.ts';
import { RISK_NAMES } from '../../protocol/risks.ts';
import { COUNTED_CLOCK } from '../clock.ts';
import type { Session, SessionHandlers, Target, Work } from '../target.ts';
import { chooseAccelerator, type Accelerator } from './accelerator.ts';
import {
  BLACK_BOX_IN_GUEST,
  linuxCommandLine,
  qemuArguments,
  type Sockets,
} from './command-line.ts';
import { ConsoleFile } from './console-file.ts';
import { buildInitramfs, shellQuote } from './initramfs.ts';
import { overlayModules, resolveKernel, type Kernel } from './kernels.ts';
import { absentModules } from './modules.ts';
import { placeDevices, rolePaths, type Machine } from './machine.ts';
import { findMachine } from './machines.ts';
import { VM_ABILITIES } from './outside.ts';
import { qemuVersion, startQemu } from './qemu.ts';
import { optionRom } from './rom.ts';
import { fastestImage } from './vmlinux.ts';
import { VmSession } from './session.ts';

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
