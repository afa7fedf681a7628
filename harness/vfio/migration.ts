import { sys } from '../shim/index.ts';
import {
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_MIG_GET_PRECOPY_INFO,
  vfio_device_feature_mig_data_size,
  vfio_device_feature_mig_state,
  vfio_precopy_info,
} from '../abi/vfio.ts';
import { Answer } from '../kernel/answer.ts';
import type { Device } from './device.ts';
import { ioctl } from './ioctl.ts';

/** The state of a device under migration, and the stream that a change of state opened (-1: none). */
export type MigrationState = ReturnType<typeof vfio_device_feature_mig_state.decode>;

/** VFIO_PRECOPY_INFO as the kernel left it. */
export type PrecopyInfo = ReturnType<typeof vfio_precopy_info.decode>;

function tryMigrationState(
  device: Device,
  operation: number,
  state: number,
): Answer<MigrationState> {
  const payload = vfio_device_feature_mig_state.encode({ device_state: state, data_fd: 0x7fff });
  const flags = operation | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
  const { call, result, value } = device.tryFeature(flags, payload);
  return new Answer(`${call} ${state}`, result, vfio_device_feature_mig_state.decode(value));
}

/** The state that the device is in, VFIO_DEVICE_STATE_*. */
export function migrationState(device: Device): number {
  return tryMigrationState(device, VFIO_DEVICE_FEATURE_GET, 0).get().device_state;
}

/** Asks the device to change to a state; the value holds the stream, which is then the caller's to close. */
export function trySetMigrationState(device: Device, state: number): Answer<MigrationState> {
  return tryMigrationState(device, VFIO_DEVICE_FEATURE_SET, state);
}

/** Bytes that the stream of the STOP_COPY state may have. */
export function migrationDataSize(device: Device): bigint {
  const flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DATA_SIZE;
  const payload = Buffer.alloc(vfio_device_feature_mig_data_size.size);
  const { value } = device.tryFeature(flags, payload);
  return vfio_device_feature_mig_data_size.decode(value).stop_copy_length;
}

/** VFIO_MIG_GET_PRECOPY_INFO on a stream. */
export function tryPrecopyInfo(
  stream: number,
  { argsz = vfio_precopy_info.size, flags = 0 } = {},
): Answer<PrecopyInfo> {
  const buffer = vfio_precopy_info.encode({ argsz, flags, initial_bytes: 0n, dirty_bytes: 0n });
  const { call, result } = ioctl(stream, VFIO_MIG_GET_PRECOPY_INFO, buffer);
  return new Answer(call, result, vfio_precopy_info.decode(buffer));
}

/** All that a stream holds, up to its end for now. */
export function readStream(stream: number): Buffer {
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(4096);
    const length = new Answer(
      'read of a migration stream',
      sys.read(stream, chunk),
      undefined,
    ).must();
    if (length === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, length));
  }
}
