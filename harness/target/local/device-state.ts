import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { SetupError } from '../errors.ts';
import { linkName, readText, tryReadText } from './files.ts';
import { isLockedDown } from './kernel-options.ts';
import { captureLinks, describeLinks, putBackLinks, type LinkState } from './link-state.ts';
import { modprobe } from './modprobe.ts';

export const VFIO_PCI = 'vfio-pci';
const PCI = '/sys/bus/pci';
/** What the kernel shows where no override is set. */
const NO_OVERRIDE = '(null)';
/** PCI_VENDOR_ID and PCI_DEVICE_ID in config space. */
const VENDOR_ID = 0;
const DEVICE_ID = 2;
/** What is read of a device that does not answer; a virtual function never does (SR-IOV 1.1, 3.4.1). */
const UNREADABLE_ID = 'ffff:ffff';
/** PCI_COMMAND in config space. */
const COMMAND = 4;
const COMMAND_SIZE = 2;

/** Drivers set it at their probe. Empty for who cannot wake the machine, and then not to be written. */
const WAKEUP = 'power/wakeup';
/**
 * Attributes that VFIO or a test may change and that are put back by writing the old text
 * (Documentation/ABI/testing/sysfs-bus-pci, sysfs-devices-power).
 */
const ATTRIBUTES = ['reset_method', 'd3cold_allowed', 'power/control', WAKEUP] as const;

/** All of a PCI function that a run may change and has to put back. */
export interface DeviceState {
  bdf: string;
  iommuGroup: number | null;
  driver: string | null;
  driverOverride: string | null;
  /** Virtual functions that are switched on. */
  numVfs: number;
  /** Text of each attribute that the function has. */
  attributes: Record<string, string>;
  links: LinkState[];
  /** Config space in hexadecimal: 64 bytes, or all of it for root. */
  config: string;
}

/** @throws SetupError if there is no such function (any more) */
export function captureState(bdf: string): DeviceState {
  const path = devicePath(bdf);
  if (!existsSync(path))
    throw new SetupError(`${bdf} is not there`, 'see `vfio-conformance devices`');
  const override = readText(join(path, 'driver_override'));
  return {
    bdf,
    iommuGroup: groupOf(bdf),
    driver: driverOf(bdf),
    driverOverride: override === NO_OVERRIDE || override === '' ? null : override,
    numVfs: Number(readText(join(path, 'sriov_numvfs')) || 0),
    attributes: Object.fromEntries(
      ATTRIBUTES.flatMap((name) => {
        const text = tryReadText(join(path, name));
        return text === null || (name === WAKEUP && text === '') ? [] : [[name, text]];
      }),
    ),
    links: captureLinks(path),
    config: readFileSync(join(path, 'config')).toString('hex'),
  };
}

/** What differs between a state and the one that it should be, in words. */
export function differences(wanted: DeviceState, found: DeviceState): string[] {
  const facts = ({ driver, driverOverride, numVfs, attributes, links, config }: DeviceState) => ({
    driver: driver ?? 'none',
    driver_override: driverOverride ?? 'none',
    sriov_numvfs: String(numVfs),
    ...attributes,
    ...(driver === null &&
      !isLockedDown() && { command: config.slice(2 * COMMAND, 2 * (COMMAND + COMMAND_SIZE)) }),
    links: describeLinks(links),
  });
  const is = facts(found) as Record<string, string>;
  return Object.entries(facts(wanted))
    .filter(([name, value]) => is[name] !== value)
    .map(([name, value]) => `${name} is '${is[name] ?? ''}', it was '${value}'`);
}

/**
 * Hands the function to vfio-pci through `driver_override`, which names this one function only and
 * leaves every other device of its kind alone.
 * @throws SetupError if vfio-pci does not take it
 */
export function bindToVfio(bdf: string): void {
  if (driverOf(bdf) === VFIO_PCI) return;
  const path = devicePath(bdf);
  // A physical function's driver takes its virtual functions along in an order of its own.
  if (Number(readText(join(path, 'sriov_numvfs')) || 0) > 0) write(path, 'sriov_numvfs', '0');
  rebind(bdf, VFIO_PCI);
}

/**
 * What tells that a function is no more in the hands of the run that has taken it: its owner has given it
 * to another driver, or switched virtual functions on, or another device has its place.
 * @returns in words; null if it is still for the run to put back
 */
export function newOwner(wanted: DeviceState, found: DeviceState): string | null {
  const [was, is] = [wanted, found].map(idOf);
  if (is !== was && is !== UNREADABLE_ID) return `${is} is at this address now, it was ${was}`;
  const { driver, numVfs } = found;
  if (driver !== null && driver !== VFIO_PCI && driver !== wanted.driver)
    return `${driver} has it since`;
  // To switch them off would take them from whoever has them: a run never leaves another number than 0.
  if (numVfs > 0 && numVfs !== wanted.numVfs) return `it has ${numVfs} virtual functions since`;
  return null;
}

/** Vendor and device, from config space. */
function idOf({ config }: DeviceState): string {
  const bytes = Buffer.from(config, 'hex');
  const word = (at: number): string => bytes.readUInt16LE(at).toString(16).padStart(4, '0');
  return `${word(VENDOR_ID)}:${word(DEVICE_ID)}`;
}

/**
 * Puts a function back into a former state. What is as it was is not touched: doing it twice, or
 * after having been stopped half-way, does no harm. A step that the kernel refuses keeps none of the others
 * from being taken.
 * @returns what the kernel refused, in words
 */
export function putBack(wanted: DeviceState): string[] {
  const { bdf } = wanted;
  const path = devicePath(bdf);
  return eachStep([
    () => driverOf(bdf) !== wanted.driver && rebind(bdf, wanted.driver),
    () =>
      captureState(bdf).driverOverride !== wanted.driverOverride &&
      write(path, 'driver_override', wanted.driverOverride ?? ''),
    () => captureState(bdf).numVfs !== wanted.numVfs && putBackVfs(path, wanted.numVfs),
    ...Object.entries(wanted.attributes).map(
      ([name, text]) =>
        () =>
          readText(join(path, name)) !== text && putBackAttribute(path, name, text),
    ),
    () => wanted.driver === null && !isLockedDown() && putBackCommand(path, wanted),
    () => putBackLinks(path, wanted.links),
  ]);
}

/** Takes each step, whatever becomes of the others. @returns the messages of those that threw */
export function eachStep(steps: readonly (() => unknown)[]): string[] {
  return steps.flatMap((step) => {
    try {
      step();
      return [];
    } catch (error) {
      return [(error as Error).message];
    }
  });
}

/** The driver that has a function, or null. */
export function driverOf(bdf: string): string | null {
  return linkName(join(devicePath(bdf), 'driver'));
}

/** The IOMMU group of a function, or null. */
function groupOf(bdf: string): number | null {
  const group = linkName(join(devicePath(bdf), 'iommu_group'));
  return group === null ? null : Number(group);
}

export function devicePath(bdf: string): string {
  return join(PCI, 'devices', bdf);
}

/** Takes the function from its driver and gives it to another one, or to none. */
function rebind(bdf: string, driver: string | null): void {
  const path = devicePath(bdf);
  if (driverOf(bdf) !== null) write(path, 'driver/unbind', bdf);
  if (driver === null) return;
  write(path, 'driver_override', driver);
  loadDriver(driver);
  writeFileSync(join(PCI, 'drivers_probe'), bdf);
  // drivers_probe reports success even if no driver took the device.
  if (driverOf(bdf) !== driver)
    throw new SetupError(
      `${driver} did not take ${bdf}`,
      '`dmesg` may say why; `vfio-conformance restore` tries again to put everything back',
    );
}

/**
 * Loads a PCI driver that is neither loaded nor built in, if there is a module of its name.
 * @throws Error with modprobe's words if there is none
 */
export function loadDriver(driver: string, sys = '/sys'): void {
  if (existsSync(join(sys, 'bus/pci/drivers', driver))) return;
  modprobe(driver);
}

/** Drivers set the command register up for themselves; without one it is as the firmware left it. */
function putBackCommand(path: string, { config }: DeviceState): void {
  const wanted = Buffer.from(config, 'hex').subarray(COMMAND, COMMAND + COMMAND_SIZE);
  const fd = openSync(join(path, 'config'), 'r+');
  try {
    const found = Buffer.alloc(COMMAND_SIZE);
    readSync(fd, found, 0, COMMAND_SIZE, COMMAND);
    if (!found.equals(wanted)) writeSync(fd, wanted, 0, COMMAND_SIZE, COMMAND);
  } finally {
    closeSync(fd);
  }
}

function putBackVfs(path: string, count: number): void {
  // The kernel refuses to change a number that is not 0.
  if (readText(join(path, 'sriov_numvfs')) !== '0') write(path, 'sriov_numvfs', '0');
  if (count > 0) write(path, 'sriov_numvfs', String(count));
}

function putBackAttribute(path: string, name: string, text: string): void {
  try {
    write(path, name, text);
  } catch (error) {
    // A method that was possible when the list was made may not be any more: then the kernel's own.
    if (name !== 'reset_method') throw error;
    write(path, name, 'default');
  }
}

/** An empty text is written as a newline: a write of nothing does not reach the kernel. */
function write(path: string, name: string, text: string): void {
  writeFileSync(join(path, name), text === '' ? '\n' : text);
}
