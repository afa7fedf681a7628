/** File descriptors and addresses as text: with what they refer to. */
import { PCI_REGION_INDEXES, VFIO_PCI_CONFIG_REGION_INDEX } from '../../abi/vfio.ts';
import { valueOf, type Call } from '../call.ts';
import { configRegister } from './config-registers.ts';
import { splitPosition } from '../device-position.ts';
import type { OpenFd } from '../process-state.ts';
import type { Tracker } from '../tracker.ts';
import type { Labels } from './structs.ts';
import { hex, valueName } from './values.ts';

export function labelsFor(call: Call, tracker: Tracker): Labels {
  return {
    fd: (number) => fdText(number, tracker.fd(call.process, number)),
    address: (address) => addressText(call, address, tracker),
  };
}

export function fdText(number: number, open: OpenFd | undefined): string {
  return open ? `${number}<${open.label}>` : String(number);
}

export function addressText(call: Call, address: bigint, tracker: Tracker): string {
  if (address === 0n) return 'NULL';
  const mapping = tracker.mapping(call.process, address);
  if (mapping?.file?.kind !== 'device') return hex(address);
  const position = mapping.offset + (address - mapping.start);
  return `${hex(address)}<${mapping.file.label} ${regionText(position, mapping.file)}>`;
}

/** Region and offset of a position in a vfio-pci device: `BAR0+0x10`, `CONFIG+PCI_COMMAND`. */
export function regionText(position: bigint, device: OpenFd): string {
  const { region: index, offset } = splitPosition(position);
  const name = valueName(index, PCI_REGION_INDEXES).replace(/^VFIO_PCI_(\w+)_REGION_INDEX$/, '$1');
  const region = /^\d/.test(name) ? `region ${name}` : name;
  const place =
    index === VFIO_PCI_CONFIG_REGION_INDEX
      ? configRegister(offset, device.config ?? new Map())
      : hex(offset);
  return `${region}+${place}`;
}

export function addressArgument(call: Call, index: number, tracker: Tracker): string {
  const arg = call.op.args[index];
  return arg?.kind === 'arena'
    ? `data+${hex(arg.offset)}`
    : addressText(call, valueOf(call, index), tracker);
}
