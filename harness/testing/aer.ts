import { existsSync } from 'node:fs';
import {
  PCI_ERR_COR_MASK,
  PCI_ERR_UNCOR_MASK,
  PCI_ERR_UNCOR_SEVER,
  PCI_EXT_CAP_ID_ERR,
} from '../abi/pci-regs.ts';
import { O_CLOEXEC, O_WRONLY } from '../abi/libc.ts';
import type { KernelLog } from '../kernel/kmsg.ts';
import { isUnloadable, loadModule, moduleAvailable, unloadModule } from '../kernel/modules.ts';
import { NEEDS } from '../protocol/needs.ts';
import { removeFunction, rescan } from '../pci/hotplug.ts';
import type { PciFunction } from '../pci/topology.ts';
import { sys } from '../shim/index.ts';
import { Answer } from '../kernel/answer.ts';
import { findExtendedCapability } from '../vfio/config-space.ts';
import type { Device } from '../vfio/device.ts';
import type { TestContext } from './context.ts';
import { eventually } from './eventually.ts';
import { functionInRole } from './machine.ts';
import { hmp } from './outside.ts';
import type { Requirement } from './requirement.ts';
import { BEHIND_PORT, OWN_MACHINE } from './requirements.ts';

/** Errors that a function reports in one stroke: bits of PCI_ERR_UNCOR_STATUS and PCI_ERR_COR_STATUS. */
export interface AerError {
  uncorrectable?: number;
  correctable?: number;
}

/** A way to make one PCIe function report errors. */
export interface ErrorSource {
  /** Answers when the error is on its way; the port service handles it in a thread of its own. */
  tryInject(error: AerError): Answer;
  /** @throws KernelError if the error is masked, or the function has no AER. */
  inject(error: AerError): void;
}

/** The node of the kernel's aer_inject module. */
export const AER_INJECT_NODE = '/dev/aer_inject';

/** Errors that the kernel makes up: {@link KernelErrors}. */
export const AER_INJECT: Requirement = {
  name: NEEDS.aerInject,
  missing(pci) {
    const noPort = BEHIND_PORT.missing(pci);
    if (noPort !== null) return noPort;
    if (isBuiltIn()) {
      const isReal = OWN_MACHINE.missing() !== null;
      return isReal ? 'aer_inject is built in: it would hide errors until the next boot' : null;
    }
    const isThere = moduleAvailable('aer_inject');
    return isThere ? null : 'the kernel has no module aer_inject (CONFIG_PCIEAER_INJECT)';
  },
};

function isBuiltIn(): boolean {
  return existsSync(AER_INJECT_NODE) && !isUnloadable('aer_inject');
}

/** struct aer_error_inj of drivers/pci/pcie/aer_inject.c. */
export function aerInjectRecord(
  pci: PciFunction,
  { uncorrectable = 0, correctable = 0 }: AerError,
): Buffer {
  const parts = /^([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/.exec(pci.bdf);
  if (!parts) throw new Error(`'${pci.bdf}' is no address of a PCI function`);
  const [domain = 0, bus = 0, slot = 0, fn = 0] = parts.slice(1).map((part) => parseInt(part, 16));
  const record = Buffer.alloc(32);
  record.writeUInt8(bus, 0);
  record.writeUInt8(slot, 1);
  record.writeUInt8(fn, 2);
  record.writeUInt32LE(uncorrectable >>> 0, 4);
  record.writeUInt32LE(correctable >>> 0, 8);
  record.writeUInt32LE(domain, 28);
  return record;
}

/**
 * Loads aer_inject for the rest of the test. It stands between the kernel and the AER status of the
 * function and of its root port; with the module goes all that it made up. Built in it hides from the
 * first error on what the hardware of that port reports: such tests come last (harness/runner/select.ts).
 */
function loadAerInject(context: Pick<TestContext, 'defer'>): void {
  const wasThere = isUnloadable('aer_inject');
  if (!isBuiltIn()) loadModule('aer_inject');
  context.defer(() => {
    if (isUnloadable('aer_inject')) unloadModule('aer_inject');
    if (wasThere) loadModule('aer_inject');
  });
  if (!eventually(() => sys.close(openNode()) === 0)) throw new Error(`no ${AER_INJECT_NODE}`);
}

function openNode(): number {
  return sys.open(AER_INJECT_NODE, O_WRONLY | O_CLOEXEC);
}

/** Errors made up by the kernel's aer_inject module: on any function with AER below a root port with AER. */
export class KernelErrors implements ErrorSource {
  readonly #pci: PciFunction;

  /** Loads the module for the rest of the test; needs {@link AER_INJECT}. */
  constructor(context: Pick<TestContext, 'defer'>, pci: PciFunction) {
    loadAerInject(context);
    this.#pci = pci;
  }

  tryInject(error: AerError): Answer {
    const fd = new Answer(`open ${AER_INJECT_NODE}`, openNode(), undefined).must();
    const result = sys.write(fd, aerInjectRecord(this.#pci, error));
    sys.close(fd);
    return new Answer(`an error of ${this.#pci.bdf} by aer_inject`, result, undefined);
  }

  inject(error: AerError): void {
    this.tryInject(error).must();
  }
}

/**
 * Errors of the emulated device itself, by QEMU's monitor; needs `ability('hmp')`. Only devices that
 * have error reporting enabled send a message, and none does after a fatal error of this kind until
 * it is plugged again: see {@link replug}.
 */
export class OutsideErrors implements ErrorSource {
  readonly #role: string;

  constructor(role: string) {
    this.#role = role;
  }

  tryInject({ uncorrectable = 0, correctable = 0 }: AerError): Answer {
    const one = (status: number, option: string) => {
      const words = hmp(
        `pcie_aer_inject_error ${option}${this.#role} 0x${(status >>> 0).toString(16)}`,
      );
      if (!words.startsWith('OK')) throw new Error(`QEMU does not inject the error: ${words}`);
    };
    if (uncorrectable) one(uncorrectable, '');
    if (correctable) one(correctable, '-c ');
    return new Answer(`an error of ${this.#role} from outside`, 0, undefined);
  }

  inject(error: AerError): void {
    this.tryInject(error).must();
  }
}

/** What the port service said when it was done with an error. */
export interface Recovery {
  /** BDF of the port below which everything was asked to recover. */
  port: string;
  outcome: 'successful' | 'failed';
}

/** How long the port service may take with one error on a loaded machine, in milliseconds. */
const RECOVERY_MS = 30_000;

/** Waits for the ends of recoveries in the kernel log: after them no further signal can follow. */
export class Recoveries {
  readonly #log: KernelLog;
  readonly #found: Recovery[] = [];

  /** Recoveries from now on. */
  constructor(context: Pick<TestContext, 'kernelLog'>) {
    this.#log = context.kernelLog();
  }

  /** The next recovery, or null if none ends in time. */
  tryNext(timeoutMs: number): Recovery | null {
    eventually(() => {
      for (const line of this.#log.drain()) {
        const [, port, outcome] =
          /(\S+): AER: device recovery (successful|failed)/.exec(line) ?? [];
        if (port) this.#found.push({ port, outcome: outcome as Recovery['outcome'] });
      }
      return this.#found.length > 0;
    }, timeoutMs);
    return this.#found.shift() ?? null;
  }

  /** @throws Error if no recovery ends within half a minute. */
  next(): Recovery {
    const next = this.tryNext(RECOVERY_MS);
    if (!next) throw new Error('the port service did not finish the recovery from an error');
    return next;
  }
}

/** The bits of PCI_ERR_UNCOR_STATUS that VFIO lets a user mask: up to "TLP prefix blocked". */
const UNCORRECTABLE = bitsOf(0x03ff_f030);
/** All bits that PCIe defines for PCI_ERR_COR_STATUS. */
const CORRECTABLE = bitsOf(0x0000_f1c1);

function bitsOf(mask: number): number[] {
  return Array.from({ length: 32 }, (_, index) => (1 << index) >>> 0).filter((bit) => mask & bit);
}

/** The AER capability of an open device, as its user sees it. All registers have 32 bits. */
export class AerRegisters {
  readonly #device: Device;
  /** Where the capability begins in config space. */
  readonly offset: number;

  /** @throws Error if the device has none. */
  constructor(device: Device) {
    this.#device = device;
    const offset = findExtendedCapability(device.config, PCI_EXT_CAP_ID_ERR);
    if (offset === null) throw new Error(`${device.name} has no AER capability`);
    this.offset = offset;
  }

  /** @param register PCI_ERR_*: the offset within the capability. */
  read(register: number): number {
    return this.#device.config.read32(this.offset + register);
  }

  write(register: number, value: number): void {
    this.#device.config.write32(this.offset + register, value);
  }

  /** The kinds of uncorrectable errors that are reported as they are, each as its bit. */
  kinds(severity: 'non-fatal' | 'fatal'): number[] {
    const fatal = this.read(PCI_ERR_UNCOR_SEVER);
    const masked = this.read(PCI_ERR_UNCOR_MASK);
    return UNCORRECTABLE.filter(
      (bit) => !(masked & bit) && Boolean(fatal & bit) === (severity === 'fatal'),
    );
  }

  /** The kinds of correctable errors that are not masked, each as its bit. */
  correctableKinds(): number[] {
    const masked = this.read(PCI_ERR_COR_MASK);
    return CORRECTABLE.filter((bit) => !(masked & bit));
  }
}

/**
 * Takes functions out and finds them again, so that what a link reset without a driver to restore
 * config space left behind costs no other test: the kernel sets them up as it does at boot.
 * @param roles functions below one port, none of them open.
 */
export function replug(...roles: string[]): void {
  const present = roles.map(functionInRole).filter((pci) => pci !== null);
  for (const pci of present) removeFunction(pci);
  rescan();
  for (const role of roles) {
    if (!functionInRole(role))
      throw new Error(`the function in the role '${role}' did not come back`);
  }
}
