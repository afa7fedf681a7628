import { PCI_COMMAND, PCI_COMMAND_MEMORY } from '../abi/pci-regs.ts';
import { setCommand } from './config-space.ts';
import type { Device } from './device.ts';

/** Whether the COMMAND register, as the user sees it, lets the device decode memory. */
export function memoryEnabled(device: Device): boolean {
  return (device.config.read16(PCI_COMMAND) & PCI_COMMAND_MEMORY) !== 0;
}

/** Switches memory decoding of the device, and so every access to its memory regions. */
export function setMemoryEnabled(device: Device, on: boolean): void {
  setCommand(device, on ? { set: PCI_COMMAND_MEMORY } : { clear: PCI_COMMAND_MEMORY });
}
