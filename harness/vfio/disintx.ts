import { PCI_COMMAND, PCI_COMMAND_INTX_DISABLE } from '../abi/pci-regs.ts';
import type { PciFunction } from '../pci/topology.ts';
import { setCommand } from './config-space.ts';
import type { Device } from './device.ts';

/** The user's DisINTx, which holds the device's INTx back. */
export function setDisIntx(device: Device, on: boolean): void {
  setCommand(device, on ? { set: PCI_COMMAND_INTX_DISABLE } : { clear: PCI_COMMAND_INTX_DISABLE });
}

/** DisINTx as the user sees it. */
export function userDisIntx(device: Device): boolean {
  return (device.config.read16(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) !== 0;
}

/** DisINTx as the device has it: VFIO masks INTx with it too. */
export function deviceDisIntx(pci: Pick<PciFunction, 'config'>): boolean {
  return (pci.config().readUInt16LE(PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE) !== 0;
}
