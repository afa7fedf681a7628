import type { Device } from '../vfio/device.ts';
import { E1000e, E1000eLine } from './e1000e.ts';
import { Edu } from './edu.ts';
import { Igb } from './igb.ts';
import type { InterruptDevice } from './test-device.ts';

/** A test's device and what it owes after it, as a test's context offers them. */
interface Owner {
  role: string;
  device: Device;
  defer(step: () => void): void;
}

/** An interrupting device with its registers mapped. */
export interface MappedInterruptDevice extends InterruptDevice {
  unmap(): void;
}

/** Acknowledges and unmaps after the test: edu has no reset that would do so. */
function owned<T extends MappedInterruptDevice>(defer: Owner['defer'], driver: T): T {
  defer(() => {
    driver.acknowledge();
    driver.unmap();
  });
  return driver;
}

/** Drives the device in a role by its one INTx or MSI interrupt. */
export function lineDriver({ role, device, defer }: Owner): MappedInterruptDevice {
  if (role === 'e1000e') return owned(defer, new E1000eLine(device));
  return owned(defer, new Edu(device));
}

/** Drives the device in a role by its MSI-X vectors. */
export function vectorDriver({ role, device, defer }: Owner): MappedInterruptDevice {
  if (role === 'e1000e') return owned(defer, new E1000e(device));
  return owned(defer, new Igb(device));
}

/** Drives an edu, whose registers raise and show its interrupt. */
export function eduDriver({ device, defer }: Pick<Owner, 'device' | 'defer'>): Edu {
  return owned(defer, new Edu(device));
}
