import {
  PCI_CAPABILITY_LIST,
  PCI_CAP_LIST_NEXT,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
} from '../abi/pci-regs.ts';
import type { Device } from './device.ts';
import type { Region } from './region.ts';
import { checkCommand } from './sysfs-rules.ts';

/** Offset of a standard capability as the VFIO user sees it, or null. */
export function findCapability(config: Region, id: number): number | null {
  let offset = config.read8(PCI_CAPABILITY_LIST) & ~3;
  for (let steps = 0; offset >= 0x40 && steps < 48; steps++) {
    if (config.read8(offset) === id) return offset;
    offset = config.read8(offset + PCI_CAP_LIST_NEXT) & ~3;
  }
  return null;
}

/** Offset of an extended capability as the VFIO user sees it, or null. */
export function findExtendedCapability(config: Region, id: number): number | null {
  if (config.size <= 0x100) return null;
  let offset = 0x100;
  for (let steps = 0; offset >= 0x100 && steps < 960; steps++) {
    const header = config.read32(offset);
    if ((header & 0xffff) === id && header !== 0) return offset;
    offset = (header >>> 20) & ~3;
  }
  return null;
}

/** Sets and clears bits of the COMMAND register. */
export function setCommand(device: Device, { set = 0, clear = 0 }): void {
  const config = device.config;
  const command = config.read16(PCI_COMMAND);
  checkCommand(device.name, command);
  config.write16(PCI_COMMAND, (command & ~clear) | set);
}

/** Memory decoding and bus mastering on: what a driver does first. */
export function enableDevice(device: Device): void {
  setCommand(device, { set: PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER });
}
