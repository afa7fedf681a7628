import { sys } from '../shim/index.ts';
import type { Device } from '../vfio/device.ts';
import type { Group } from '../vfio/group.ts';
import { MediatedType, type MediatedDevice } from '../vfio/mediated-device.ts';
import { trySetMigrationState } from '../vfio/migration.ts';
import type { TestContext } from './context.ts';
import type { Requirement } from './requirement.ts';
import { ROOT } from './requirements.ts';

/** The kernel's sample of a mediated frame buffer: at most four devices, of three sizes. */
export const MDPY = new MediatedType('mdpy', 'mdpy-vga');
/** The kernel's sample of a mediated serial port: it can be migrated. */
export const MTTY = new MediatedType('mtty', 'mtty-1');

/** A driver that offers this type of mediated device, and the right to make some: root. */
export function mediated(type: MediatedType): Requirement {
  return {
    name: `mediated devices: ${type.path}`,
    missing: () => {
      if (!type.exists) return `no driver offers ${type.path} (samples/vfio-mdev of the kernel)`;
      return ROOT.missing();
    },
  };
}

/** A new mediated device; removed after the test. */
export function createMediated({ defer }: TestContext, type: MediatedType): MediatedDevice {
  const device = type.create();
  defer(() => {
    if (device.exists) device.tryRemove().must();
  });
  return device;
}

/** The open group of a new mediated device. */
export function openMediatedGroup(context: TestContext, type: MediatedType): Group {
  return context.openFreshGroup(createMediated(context, type).group);
}

/** A new mediated device, open, in a container of its own. */
export function openMediated(context: TestContext, type: MediatedType): Device {
  const mediatedDevice = createMediated(context, type);
  const group = context.openFreshGroup(mediatedDevice.group);
  context.containerWith(group);
  return context.openDevice(group, mediatedDevice.name);
}

/**
 * Changes the migration state of a device; a stream that this opens is closed after the test.
 * @returns the stream, or -1 where the change opens none
 * @throws KernelError
 */
export function changeMigrationState(
  { defer }: Pick<TestContext, 'defer'>,
  device: Device,
  state: number,
): number {
  const stream = trySetMigrationState(device, state).get().data_fd;
  if (stream >= 0) defer(() => sys.close(stream));
  return stream;
}
