import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SetupError } from '../../../setup/failure.mjs';
import { RISK_NAMES } from '../../protocol/risks.ts';
import { BLACK_BOX_SIZE } from '../black-box.ts';
import { COUNTED_CLOCK } from '../clock.ts';
import { UnsupportedError } from '../errors.ts';
import type { Session, SessionHandlers, Target, Work } from '../target.ts';
import { chooseAccelerator, type Accelerator } from './accelerator.ts';
import { BLACK_BOX_IN_GUEST, linuxCommandLine, qemuArguments } from './command-line.ts';
import { guestVariables } from './guest-variables.ts';
import { buildInitramfs } from './initramfs.ts';
import { overlayModules, resolveKernel, type Kernel } from './kernels.ts';
import { placeDevices, rolePaths, type Machine } from './machine.ts';
import { findMachine } from './machines.ts';
import { absentModules, moduleParameters } from './modules.ts';
import { VM_ABILITIES } from './outside.ts';
import { qemuVersion, startQemu } from './qemu.ts';
import { createSessionFiles, removeSessionFiles } from './session-files.ts';
import { VmSession } from './session.ts';
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

/** A boot of ten seconds takes minutes on a host that has much else to do. */
const BOOT_TIMEOUT_MS = 480_000;
/** Factor on time limits of a machine that counts instructions: it is slower, and so is its clock. */
const COUNTING_SCALE = 3;
/** After the worker has ended the guest only has to sync and power off; without `--after`, that is. */
const POWER_OFF_MS = 30_000;
/** Prepares a virtual machine: kernel, modules, accelerator. Each session boots it anew. */
export async function prepareVm(
  options: VmOptions,
  progress: (text: string) => void,
): Promise<Target> {
  const machine = findMachine(options.machine);
  const version = qemuVersion();
  if (!version) throw new SetupError('QEMU is not installed', 'install qemu-system-x86');
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
    const files = createSessionFiles(options.resultsDir, options.lane);
    const devices = placeDevices(this.#machine, files.rom);
    const initramfs = this.#initramfs();
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
        files,
      }),
    );
    const session = new VmSession(emulator, devices, files, handlers, {
      bootTimeoutMs: (options.bootTimeoutMs ?? BOOT_TIMEOUT_MS) * this.timeoutScale,
      powerOffMs: options.after ? Infinity : POWER_OFF_MS * this.timeoutScale,
    });
    void session.ended.then((end) => removeSessionFiles(files, end));
    await session.connect({ ...work, ...this.assignment });
    return session;
  }

  #initramfs(): string {
    const { append } = this.#options;
    return buildInitramfs(
      this.#kernel,
      this.#machine.firstModules,
      guestVariables(this.#kernel.modulesDir, this.#options),
      moduleParameters([...this.#machine.append, ...append]),
    );
  }
}

function fileHash(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
