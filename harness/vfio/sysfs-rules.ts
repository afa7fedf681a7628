/** Compares what VFIO tells about a PCI device with what the PCI core shows of it in sysfs. */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, PCI_COMMAND_MEMORY } from '../abi/pci-regs.ts';
import {
  VFIO_DEVICE_FLAGS_RESET,
  VFIO_PCI_BAR5_REGION_INDEX,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_REGION_INFO_FLAG_WRITE,
} from '../abi/vfio.ts';
import { PciFunction } from '../pci/topology.ts';
import { ImpossibleAnswer } from './impossible-answer.ts';
import type { RegionInfo } from './region.ts';

/** What of the answer is looked at. */
type RegionFacts = Pick<RegionInfo, 'index' | 'flags' | 'size'>;

/**
 * The sizes of BARs are the PCI core's, that of config space is at most what it shows, and both can be
 * written (drivers/vfio/pci/vfio_pci_core.c vfio_pci_ioctl_get_region_info()). Says nothing of other
 * regions, of devices that are no PCI functions, and of those that are gone.
 * @param name by which the device was opened.
 * @throws ImpossibleAnswer
 */
export function checkRegion(name: string, { index, flags, size }: RegionFacts): void {
  const isConfig = index === VFIO_PCI_CONFIG_REGION_INDEX;
  if (!isConfig && index > VFIO_PCI_BAR5_REGION_INDEX) return;
  const shown = shownBySysfs(name, (pci) =>
    isConfig ? BigInt(statSync(`${pci.path}/config`).size) : pci.resources()[index]!.size,
  );
  if (shown === null) return;
  const isRight = isConfig ? size > 0n && size <= shown && size % 4n === 0n : size === shown;
  if (!isRight) {
    throw new ImpossibleAnswer(`size of ${name}'s region ${index}`, String(shown), String(size));
  }
  if (size > 0n && !(flags & VFIO_REGION_INFO_FLAG_WRITE)) {
    const what = `flags of ${name}'s region ${index}`;
    throw new ImpossibleAnswer(what, 'VFIO_REGION_INFO_FLAG_WRITE', String(flags));
  }
}

/**
 * Who says that it can be reset has a way to be reset: the PCI core shows `reset_method` of such functions
 * alone. A reset that failed when the device was opened takes the flag away again, so the opposite is no
 * promise (vfio_pci_core_enable()).
 * @throws ImpossibleAnswer
 */
export function checkResetFlag(name: string, flags: number): void {
  if (!(flags & VFIO_DEVICE_FLAGS_RESET)) return;
  const attributes = shownBySysfs(name, ({ path }) => readdirSync(path));
  if (attributes && !attributes.includes('reset_method')) {
    throw new ImpossibleAnswer(`flags of ${name}`, 'no VFIO_DEVICE_FLAGS_RESET', String(flags));
  }
}

/** Bits of COMMAND that are VFIO's own; memory decoding is so in virtual functions. */
const VIRTUAL_COMMAND = PCI_COMMAND_INTX_DISABLE | PCI_COMMAND_MEMORY;

/**
 * COMMAND as VFIO shows it is the hardware's (drivers/vfio/pci/vfio_pci_config.c
 * init_pci_cap_basic_perm()). To be called when nobody else writes to it.
 * @throws ImpossibleAnswer
 */
export function checkCommand(name: string, command: number): void {
  const shown = shownBySysfs(name, hardwareCommand);
  if (shown !== null && (shown ^ command) & ~VIRTUAL_COMMAND) {
    throw new ImpossibleAnswer(
      `COMMAND of ${name}`,
      `0x${shown.toString(16)}`,
      `0x${command.toString(16)}`,
    );
  }
}

function hardwareCommand(pci: PciFunction): number {
  const file = openSync(`${pci.path}/config`, 'r');
  try {
    const bytes = Buffer.alloc(2);
    readSync(file, bytes, 0, bytes.length, PCI_COMMAND);
    return bytes.readUInt16LE();
  } finally {
    closeSync(file);
  }
}

/** What sysfs shows; null of what is no PCI function, or has been taken out. */
function shownBySysfs<T>(name: string, look: (pci: PciFunction) => T): T | null {
  const [bdf] = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]/.exec(name) ?? [];
  if (bdf === undefined) return null;
  try {
    return look(new PciFunction(bdf));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
