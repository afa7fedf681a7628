import { kindOf } from '../devices/catalog.ts';
import { Edu } from '../devices/edu.ts';
import { IgbLoopback } from '../devices/igb-loopback.ts';
import { Nvme } from '../devices/nvme.ts';
import type { DmaDevice } from '../devices/test-device.ts';
import type { Container } from '../vfio/container.ts';
import type { Device } from '../vfio/device.ts';
import type { TestContext } from './context.ts';

/** Roles of devices that {@link dmaDevice} can drive. */
export const DMA_ROLES = ['edu', 'nvme', 'igb'] as const;

/**
 * Starts an NVMe controller, its queues in the container that the device is in; stopped after the test.
 * Takes one mapping of the container.
 */
export function startNvme(
  { defer, memory }: TestContext,
  device: Device,
  container: Container,
): Nvme {
  const nvme = new Nvme(device, container, memory({ size: Nvme.QUEUES_SIZE, kind: '4k' }));
  defer(() => nvme.unmap());
  return nvme;
}

/** Starts an edu device; its registers are unmapped after the test. */
export function startEdu({ defer }: TestContext, device: Device): Edu {
  const edu = new Edu(device);
  defer(() => edu.unmap());
  return edu;
}

/**
 * Starts an igb that sends to itself, its queues in the container that the device is in; stopped after the test.
 * Takes one mapping of the container.
 */
function startIgbLoopback({ container, defer, device, memory }: TestContext): IgbLoopback {
  const queues = memory({ size: IgbLoopback.QUEUES_SIZE, kind: '4k' });
  const igb = new IgbLoopback(device, container, queues);
  defer(() => igb.unmap());
  return igb;
}

/** The test's own device as something that copies memory. @throws Error for other roles than {@link DMA_ROLES}. */
export function dmaDevice(context: TestContext): DmaDevice {
  const { container, device, pci } = context;
  const kind = kindOf(pci);
  if (kind === 'edu') return startEdu(context, device);
  if (kind === 'nvme') return startNvme(context, device, container);
  if (kind === 'igb') return startIgbLoopback(context);
  throw new Error(`no driver for DMA by a device of the kind '${kind}'`);
}
